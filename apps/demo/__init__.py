"""The demonstration: a year of departures from New York through a pipeline."""
