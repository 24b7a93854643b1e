"""`window`: values that belong together in time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from datetime import datetime
from typing import Any, Literal, TypeVar, overload

from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError
from warren.core.graph import Operator, Sink, Step
from warren.core.stage import Handler, Stage
from warren.operators.aggregate import OfWindows
from warren.operators.dead_letter import DeadLetter
from warren.operators.figures import Figures
from warren.operators.keys import check_function
from warren.operators.kinds import Kind, hopping, session, tumbling
from warren.operators.late import WhereTo, where_to
from warren.operators.windowing import ByClock, ByEvent, Window

__all__ = ["Window", "hopping", "session", "tumbling", "window"]

K = TypeVar("K")
T = TypeVar("T")


@overload
def window(
    kind: Kind,
    *,
    by: None = None,
    time: Callable[[T], float | datetime] | None = ...,
    lateness: Duration = ...,
    idle: Duration | None = ...,
    late: Sink[Any] | DeadLetter | Literal["drop"] | None = ...,
    version: int = ...,
    migrate: Callable[[Any, Any], T] | None = ...,
) -> Operator[T, Window[None, T]]: ...
@overload
def window(
    kind: Kind,
    *,
    by: Callable[[T], K],
    time: Callable[[T], float | datetime] | None = ...,
    lateness: Duration = ...,
    idle: Duration | None = ...,
    late: Sink[Any] | DeadLetter | Literal["drop"] | None = ...,
    version: int = ...,
    migrate: Callable[[Any, Any], T] | None = ...,
) -> Operator[T, Window[K, T]]: ...
def window(
    kind: Kind,
    *,
    by: Callable[[T], Hashable] | None = None,
    time: Callable[[T], float | datetime] | None = None,
    lateness: Duration = 0,
    idle: Duration | None = "30s",
    late: Sink[Any] | DeadLetter | Literal["drop"] | None = None,
    version: int = 1,
    migrate: Callable[[Any, Any], T] | None = None,
) -> Operator[T, Window[Any, T]]:
    """Collect values into windows of a `tumbling`, `hopping`, `session` or `count` kind, one for each key that ``by`` gives.

    By event time, which ``time`` gives (seconds since 1970, or a datetime with a time zone), a window closes when a
    value comes that is at least ``lateness`` past its end; a message that `retry` holds in the process is waited for,
    a parked one is not. Of several sources, each must have come so far: all but those that have ended, or have given
    nothing for ``idle`` (``None``: never mind). When no source gave a value for ``idle``, and when the pipeline drains, all
    windows close; should more of such a window come, it opens again and gives a second `Window`. Without ``time``, a
    value's time is when it came, and windows close by the clock.

    Windows by `count`, as ``count(100)``, close when they are full, and go by the order in which values come: they take no
    ``time``. One that is not full is given when the pipeline drains, or goes on in the next run where state is kept.

    A value whose window is closed fails with `LateError`. With ``late="drop"`` it is dropped, and with a sink, such as
    ``late=sqlite.queue("late")`` or ``late=dead_letter("late")``, it goes there, operators before it included.

    So a graceful stop gives an open window as it is, and the rest of it comes as a second `Window` of the same key and
    start when the pipeline runs again: deduplicate by the values a row counts, not by key and start alone.

    Windows leave in order of their ends, then of their first values; their values are in order of arrival, where sessions
    joined, piece by piece. An empty window is never given.

    With ``Pipeline(state=...)`` open windows outlive the run. Raise ``version`` when values change their shape, and give
    ``migrate(key, value)``, which makes a new value of an old one of the window of that key.

    Keeps the delivery guarantee: the messages of a window are acknowledged together, when everything made of it is safe,
    so a window holds their credit. A message whose time or key cannot be told fails.

    Raises `GraphError` where ``lateness`` or ``late`` is given without ``time``, ``time`` for windows by count, or one of
    these is not what it should be.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> by_minute = window(tumbling("1m"), time=lambda event: event)
    >>> result = Pipeline("minutes", memory.items([]) | by_minute | memory.into([])).test([0, 59, 60])
    >>> [(window.start, window.values) for window in result.values]
    [(0.0, [0, 59]), (60.0, [60])]
    """
    if not isinstance(kind, Kind):
        raise GraphError(
            f"window({kind!r}): give a kind of window: tumbling('1h'), hopping('1h', '15m'), session('10m') or count(100)"
        )
    for function, field in ((by, "by"), (time, "time")):
        if function is not None:
            check_function(function, f"window({kind}, {field}=...)")
    if migrate is not None:
        check_function(migrate, f"window({kind}, migrate=...)", "give a function of a key and an old value")
    if kind.counts and time is not None:
        raise GraphError(
            f"window({kind}, time=...): a window by count closes when it is full, whatever the time; leave out time=, or "
            "choose tumbling, hopping or session"
        )
    late = where_to(late, f"window({kind}, late={late!r})")
    if time is None and (late is not None or seconds(lateness)):
        raise GraphError(f"window({kind}): without time= nothing can be late; give time=, or leave out lateness and late")
    if idle is not None and seconds(idle) == 0:
        raise GraphError(f"window({kind}, idle={idle!r}): idle must be longer than 0, or None")
    return _Window(kind, by, time, seconds(lateness), None if idle is None else seconds(idle), late, version, migrate)


class _Window(Operator[Any, Window[Any, Any]]):
    def __init__(
        self,
        kind: Kind,
        by: Callable[[Any], Hashable] | None,
        time: Callable[[Any], float | datetime] | None,
        lateness: float,
        idle: float | None,
        late: WhereTo,
        version: int,
        migrate: Callable[[Hashable, Any], Any] | None,
        figures: Figures | None = None,
    ) -> None:
        self.kind = kind
        self.by = by
        self.time = time
        self.lateness = lateness
        self.idle = idle
        self.late: WhereTo = late
        self.version = version
        self.migrate = migrate
        self.figures = figures

    @property
    def name(self) -> str:
        return f"window({self.kind})"

    @property
    def guarantee(self) -> str:
        kept = ", keeps figures in place of values" if self.figures is not None else ""
        return f"acknowledged together, after the window closes{kept}" + (
            ", late values dropped" if self.late == "drop" else ""
        )

    @property
    def holds(self) -> int | None:
        return int(self.kind.size) if self.kind.counts else None

    @property
    def timed(self) -> bool:
        # Of how many keys there is one that is not full yet, only time tells.
        return not self.kind.counts or self.by is not None

    @property
    def shelves(self) -> bool:
        return True

    def before(self, following: Operator[Any, Any]) -> Operator[Any, Any]:
        if not isinstance(following, OfWindows) or not following.figures.can_be_kept(joined=self.kind.joins):
            return self
        if self.migrate is not None:
            raise GraphError(
                f"{self.name}: {following.name} behind it has its figures kept in place of values, so migrate= finds none; "
                "leave it out, and drop the state where the figures are others now"
            )
        return _Window(
            self.kind, self.by, self.time, self.lateness, self.idle, self.late, self.version, None, following.figures
        )

    def branches(self) -> Iterator[tuple[str, Step]]:
        if isinstance(self.late, Sink):
            yield "late", self.late

    def attach(self, stage: Stage) -> Handler:
        return ByClock(self, stage).take if self.time is None else ByEvent(self, stage, self.time).take
