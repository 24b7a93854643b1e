"""Programs made of the library: the command line and the demonstration."""
