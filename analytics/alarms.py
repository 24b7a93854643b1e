"""`Alarms`: which of the anomalous values are worth an alarm, so that one incident makes one."""

from __future__ import annotations

from warren.core.errors import GraphError

__all__ = ["Alarms"]


class Alarms:
    """Says for each score in turn whether it is an alarm: one for an incident, and fewer where there are many.

    After an alarm there is none for ``quiet`` values. Each alarm also raises the bar by ``rise`` times the threshold, and
    over ``half_life`` values half of that fades: a series that is always restless asks for more.

    Raises `GraphError` where a setting cannot work.

    >>> alarms = Alarms(1.0, quiet=3)
    >>> [alarms.step(score) for score in (0.2, 5.0, 5.0, 5.0, 5.0, 5.0)]
    [False, True, False, False, False, True]
    """

    __slots__ = ("_calm", "_raised", "half_life", "quiet", "rise", "threshold")

    def __init__(self, threshold: float, *, quiet: int = 100, rise: float = 0.2, half_life: float = 8000) -> None:
        if not threshold > 0 or quiet < 0 or rise < 0 or not half_life > 0:
            raise GraphError(
                f"Alarms({threshold}, quiet={quiet}, rise={rise}, half_life={half_life}): the threshold and the half-life "
                f"must be above 0, the others not below"
            )
        self.threshold = threshold
        self.quiet = quiet
        self.rise = rise
        self.half_life = half_life
        self._raised = 0.0
        self._calm = quiet

    def step(self, score: float) -> bool:
        """Whether this score is an alarm."""
        self._raised *= 0.5 ** (1 / self.half_life)
        if self._calm < self.quiet:
            self._calm += 1
            return False
        if not score >= self.threshold + self._raised:
            return False
        self._raised += self.rise * self.threshold
        self._calm = 0
        return True
