"""Pipelines: the plan, the runtime and an orderly shutdown."""
