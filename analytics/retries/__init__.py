"""Retries that learn from what became of earlier ones: how long to wait, how fast to go, and when to give up."""

from warren.analytics.gains import Gain
from warren.analytics.retries.policy import AdaptiveBackoff
from warren.analytics.retries.replay import replay

__all__ = ["AdaptiveBackoff", "Gain", "replay"]
