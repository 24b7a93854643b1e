"""A remedy: when to do what, and how often at most."""

from __future__ import annotations

import math
import re

from warren.analytics.remedies.actions import Action
from warren.analytics.remedies.conditions import Rule
from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError

__all__ = ["Remedy"]

_SPANS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0}
_RATE = re.compile(r"(\d+) an? (second|minute|hour|day)")


class Remedy:
    """What to do when something is wrong.

    - ``when``: a `Rule`, such as ``lambda figures: figures.dead_share > 0.2``, `beyond` or `unusual`
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
