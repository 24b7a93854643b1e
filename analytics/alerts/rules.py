"""What there is to be told of, when, and what is told."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from warren.analytics.remedies.conditions import Rule
from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError

__all__ = ["Alert", "Incident", "Notification", "Silence"]


class Alert:
    """When somebody is to be told.

    - ``name``: what it is called; ``when``: a `Rule`, such as ``beyond("dead_share", above=0.05)``
    - ``lasting``: for how long the rule must say so, at every look, before it fires
    - ``keep``: for how long the rule must be quiet before it is resolved
    - ``labels``: what receivers, groups and silences tell alerts apart by, such as the severity
    - ``say``: what to do about it, in a sentence or a link

    Raises `GraphError` where one of them cannot work.

    >>> from warren.analytics.remedies import beyond
    >>> Alert("DeadLetters", beyond("dead_share", above=0.05), lasting="1m", labels={"severity": "page"}).lasting
    60.0
    """

    def __init__(
        self,
        name: str,
        when: Rule,
        *,
        lasting: Duration = "0s",
        keep: Duration = "0s",
        labels: Mapping[str, str] | None = None,
        say: str = "",
    ) -> None:
        if not name or not isinstance(name, str):
            raise GraphError(f"Alert({name!r}): give it a name")
        if not callable(when):
            raise GraphError(f"Alert({name!r}, when={when!r}): give a function of the figures")
        self.name, self.when, self.say = name, when, say
        self.lasting, self.keep = seconds(lasting), seconds(keep)
        if not math.isfinite(self.lasting + self.keep):
            raise GraphError(f"Alert({name!r}, lasting={lasting!r}, keep={keep!r}): give times such as '1m'")
        self.labels = {**(labels or {}), "alert": name}
        if any(not isinstance(each, str) for pair in self.labels.items() for each in pair):
            raise GraphError(f"Alert({name!r}, labels={labels!r}): labels and their values are texts")


class Incident(msgspec.Struct, kw_only=True):
    """Once that an alert fired: from ``started`` to ``ended`` in seconds since 1970, ``None`` while it goes on."""

    alert: str
    labels: dict[str, str]
    reason: str
    started: float
    ended: float | None = None
    say: str = ""

    @property
    def key(self) -> str:
        """What tells incidents apart."""
        return f"{self.alert}@{self.started!r}"

    def plain(self) -> dict[str, Any]:
        """As plain values, with times as people write them."""
        return {
            "alert": self.alert,
            "status": "firing" if self.ended is None else "resolved",
            "labels": self.labels,
            "reason": self.reason,
            "say": self.say,
            "started": _written(self.started),
            "ended": None if self.ended is None else _written(self.ended),
        }


class Notification(msgspec.Struct, kw_only=True):
    """What one receiver is told at once: the incidents of one group that go on, and those that are newly over."""

    pipeline: str
    group: dict[str, str]
    incidents: list[Incident]

    @property
    def status(self) -> Literal["firing", "resolved"]:
        """Whether any of them goes on."""
        return "firing" if any(each.ended is None for each in self.incidents) else "resolved"

    @property
    def id(self) -> str:
        """The same for the same content, so that one that comes twice is known."""
        return hashlib.sha256(msgspec.json.encode(self.plain())).hexdigest()[:32]

    @property
    def subject(self) -> str:
        """In a few words."""
        named = sorted({each.alert for each in self.incidents if self.status == "resolved" or each.ended is None})
        return f"[{self.status.upper()}] {self.pipeline}: {', '.join(named)}"

    @property
    def words(self) -> str:
        """All of it, for people."""
        lines = []
        for each in self.incidents:
            span = f"since {_written(each.started)}"
            if each.ended is not None:
                span = f"resolved, from {_written(each.started)} to {_written(each.ended)}"
            lines += [f"{each.alert} ({span}): {each.reason}", *([each.say] if each.say else [])]
        return "\n\n".join(lines) + "\n"

    def plain(self) -> dict[str, Any]:
        """As plain values: ``text``, ``status``, ``pipeline``, ``group`` and ``alerts``."""
        alerts = [each.plain() for each in self.incidents]
        return {
            "text": self.subject,
            "status": self.status,
            "pipeline": self.pipeline,
            "group": self.group,
            "alerts": alerts,
        }


class Silence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nobody is told of alerts that have all these labels, until a time; ``why`` is for whoever reads it later.

    Times are in seconds since 1970, or a ``datetime`` with its zone. Raises `GraphError` where it has no end.

    >>> from datetime import UTC, datetime
    >>> Silence(where={"severity": "info"}, until=datetime(2026, 1, 1, tzinfo=UTC)).covers({"severity": "info"}, 1.7e9)
    True
    """

    where: dict[str, str]
    until: datetime | float
    since: datetime | float = 0.0
    why: str = ""

    def __post_init__(self) -> None:
        if not self.where:
            raise GraphError("Silence(where={}): name labels, such as {'alert': 'DeadLetters'}; it would silence everything")
        for time in (self.since, self.until):
            if isinstance(time, datetime) and time.tzinfo is None:
                raise GraphError(f"Silence(until={self.until}): give the zone too, such as 2026-01-01T00:00:00Z")
            if not math.isfinite(_seconds(time)):
                raise GraphError(f"Silence(until={self.until}): a silence has an end")

    def covers(self, labels: Mapping[str, str], at: float) -> bool:
        """Whether an alert with these labels is silent at a time."""
        return _seconds(self.since) <= at < _seconds(self.until) and self.where.items() <= labels.items()


def _seconds(time: datetime | float) -> float:
    return time.timestamp() if isinstance(time, datetime) else float(time)


def _written(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
