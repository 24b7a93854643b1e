"""Composing, explaining, testing and running pipelines."""

from warren.pipelines.explain import Explanation
from warren.pipelines.pipeline import Pipeline, Running
from warren.pipelines.trial import Letter, Trial

__all__ = ["Explanation", "Letter", "Pipeline", "Running", "Trial"]
