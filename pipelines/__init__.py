"""Composing, explaining, testing and running pipelines."""

from warren.pipelines.explain import Explanation
from warren.pipelines.observe import Handed, Observed, observe
from warren.pipelines.pipeline import Pipeline, Running
from warren.pipelines.trial import Letter, Trial

__all__ = ["Explanation", "Handed", "Letter", "Observed", "Pipeline", "Running", "Trial", "observe"]
