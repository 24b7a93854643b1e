"""What the models would change in a pipeline, told from its recorded flows."""

from warren.analytics.advice.contents import Advice
from warren.analytics.advice.gather import advise
from warren.analytics.advice.shown import diff, render_advice

__all__ = ["Advice", "advise", "diff", "render_advice"]
