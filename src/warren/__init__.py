"""Compose message-processing pipelines from small operators."""
