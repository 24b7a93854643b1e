"""A remedy: when to do what, and how often at most."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from warren.analytics.alarms import Alarms
from warren.analytics.detectors import Detector
from warren.analytics.remedies.actions import Action
from warren.analytics.remedies.figures import Figures
from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError

__all__ = ["Remedy", "Rule", "unusual"]

Rule = Callable[[Figures], "str | bool | None"]
"""Given the latest figures, whether something is wrong: a reason in words, or just ``True``."""

_SPANS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0}
_RATE = re.compile(r"(\d+) an? (second|minute|hour|day)")


class Remedy:
    """What to do when something is wrong.

    - ``when``: a `Rule`, such as ``lambda figures: figures.dead_share > 0.2``, or `unusual`
    - ``action``: what to do, such as `pause`
    - ``hold``: how long that lasts; then it is undone, and done again where the rule still says so
    - ``at_most``: how often, such as ``"3 an hour"``
    - ``name``: what records call it; the action's name unless given

    Raises `GraphError` where one of them cannot work.

    >>> from warren.analytics.remedies import pause
    >>> Remedy(lambda figures: figures.dead_share > 0.2, pause(), at_most="3 an hour").name
    'pause()'
    """

    def __init__(
        self, when: Rule, action: Action, *, hold: Duration = "5m", at_most: str = "3 an hour", name: str | None = None
    ) -> None:
        self.name = name or action.name
        if not callable(when):
            raise GraphError(f"Remedy({self.name}, when={when!r}): give a function of the figures")
        match = _RATE.fullmatch(at_most) if isinstance(at_most, str) else None
        if match is None or not 1 <= int(match[1]) <= 10_000:
            raise GraphError(f"Remedy({self.name}, at_most={at_most!r}): write how often, such as '3 an hour' or '10 a day'")
        self.when, self.action = when, action
        self.hold = seconds(hold)
        if not 0 < self.hold < math.inf:
            raise GraphError(f"Remedy({self.name}, hold={hold!r}): give a time above 0, such as '5m'")
        self.at_most = at_most
        self.count, self.span = int(match[1]), _SPANS[match[2]]


def unusual(figure: str, detector: Detector, alarms: Alarms | None = None) -> Rule:
    """A rule that fires where a detector finds a figure unusual: one alarm for an incident, as `Alarms` says.

    The detector learns every value. Raises `GraphError` for a figure that there is not.

    >>> from warren.analytics import Deviation
    >>> unusual("failed", Deviation())(Figures(at=0.0, seconds=5.0, failed=0.1)) is None
    True
    """
    if figure not in Figures.__struct_fields__ or figure in ("at", "seconds", "health"):
        raise GraphError(
            f"unusual({figure!r}): there is no such figure; there are rate, failed, dead_share, depth and others"
        )
    chosen = alarms or Alarms(detector.threshold)

    def rule(figures: Figures) -> str | None:
        value = getattr(figures, figure)
        score = detector.score_one(value, figures.at)
        detector.learn_one(value, figures.at)
        alarm = chosen.step(score)
        return f"{figure} is unusual: {value:.4g}, with a score of {score:.3g}" if alarm else None

    return rule
