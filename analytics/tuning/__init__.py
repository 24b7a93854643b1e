"""Settings that tune themselves: the value of a knob by what is measured while it is in use."""

from warren.analytics.tuning.knee import KneeSearch
from warren.analytics.tuning.measuring import Controller, Measurement
from warren.analytics.tuning.tuner import Tuner

__all__ = ["Controller", "KneeSearch", "Measurement", "Tuner"]
