"""Connectors: where messages come from and where they go."""
