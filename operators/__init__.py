"""Operators: the steps of a pipeline."""
