"""`join`: two streams as pairs of values with one key that lie close in time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Literal, TypeVar, overload

from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError
from warren.core.graph import Sink, Source, Step
from warren.core.stage import Handler, Stage
from warren.operators.dead_letter import DeadLetter
from warren.operators.joining import ByClock, ByEvent
from warren.operators.late import WhereTo, where_to
from warren.operators.pairs import Pair
from warren.operators.sides import Joining, Sides, both

__all__ = ["Pair", "join"]

K = TypeVar("K", bound=Hashable)
L = TypeVar("L")
R = TypeVar("R")

_KEPT = {"inner": (False, False), "left": (True, False), "outer": (True, True)}
"""Of which side a value without a partner goes on."""
# Seconds since 1970 are exact to a quarter of a microsecond, and times as people write them to a whole one.
_EXACT = 5e-7


@overload
def join(
    left: Source[L],
    right: Source[R],
    *,
    on: Callable[[L | R], K] | tuple[Callable[[L], K], Callable[[R], K]],
    time: Callable[[L | R], float | datetime]
    | tuple[Callable[[L], float | datetime], Callable[[R], float | datetime]]
    | None = ...,
    within: Duration,
    how: Literal["inner"] = ...,
    lateness: Duration = ...,
    idle: Duration | None = ...,
    late: Sink[Any] | DeadLetter | Literal["drop"] | None = ...,
    version: int = ...,
    migrate: Callable[[K, Any], L | R] | tuple[Callable[[K, Any], L], Callable[[K, Any], R]] | None = ...,
) -> Source[Pair[K, L, R]]: ...
@overload
def join(
    left: Source[L],
    right: Source[R],
    *,
    on: Callable[[L | R], K] | tuple[Callable[[L], K], Callable[[R], K]],
    time: Callable[[L | R], float | datetime]
    | tuple[Callable[[L], float | datetime], Callable[[R], float | datetime]]
    | None = ...,
    within: Duration,
    how: Literal["left"],
    lateness: Duration = ...,
    idle: Duration | None = ...,
    late: Sink[Any] | DeadLetter | Literal["drop"] | None = ...,
    version: int = ...,
    migrate: Callable[[K, Any], L | R] | tuple[Callable[[K, Any], L], Callable[[K, Any], R]] | None = ...,
) -> Source[Pair[K, L, R | None]]: ...
@overload
def join(
    left: Source[L],
    right: Source[R],
    *,
    on: Callable[[L | R], K] | tuple[Callable[[L], K], Callable[[R], K]],
    time: Callable[[L | R], float | datetime]
    | tuple[Callable[[L], float | datetime], Callable[[R], float | datetime]]
    | None = ...,
    within: Duration,
    how: Literal["outer"],
    lateness: Duration = ...,
    idle: Duration | None = ...,
    late: Sink[Any] | DeadLetter | Literal["drop"] | None = ...,
    version: int = ...,
    migrate: Callable[[K, Any], L | R] | tuple[Callable[[K, Any], L], Callable[[K, Any], R]] | None = ...,
) -> Source[Pair[K, L | None, R | None]]: ...
def join(
    left: Source[Any],
    right: Source[Any],
    *,
    on: Any,
    time: Any = None,
    within: Duration,
    how: Literal["inner", "left", "outer"] = "inner",
    lateness: Duration = 0,
    idle: Duration | None = "30s",
    late: Sink[Any] | DeadLetter | Literal["drop"] | None = None,
    version: int = 1,
    migrate: Any = None,
) -> Source[Pair[Any, Any, Any]]:
    """Two sources as one of pairs: of the values with one key whose times are at most ``within`` apart.

    ``on`` gives the key and ``time`` the event time (seconds since 1970, or a datetime with a time zone): one function for
    both sides, or a pair of them. As in SQL, ``None`` as a key is equal to no other. Each `Pair` goes on as soon as both
    values are there. With ``how="left"`` a value of the left goes on with ``None`` once nothing can come for it any more,
    with ``how="outer"`` a value of either side.

    Event time goes on with the newest value of each side, less ``lateness``, and the side that is behind counts; one that
    has ended, or gave nothing for ``idle`` (``None``: never mind), holds it back no longer. A value that is older fails with
    `LateError`, as its partners may be forgotten; with ``late="drop"`` it is dropped, and with a sink, such as
    ``late=dead_letter("late")``, it goes there. ``lateness`` is how far out of order the values of a side may be. When no
    side gave a value for ``idle``, and when the sources have ended, nothing more is waited for. With ``idle=None`` the other
    side of a silent one is read until its values hold half of the credit; where state is kept, on and on. Without ``time`` a
    value's time is when it came, and what is open ends by the clock.

    Keeps the delivery guarantee: a message is acknowledged when event time is ``within`` past it and all its pairs are safe,
    so it holds credit for so long; at a stop, what had no partner yet goes back to its source. With ``Pipeline(state=...)``
    a message is acknowledged when a checkpoint has it, and pairs are given again after a crash until they are safe. Raise
    ``version`` when values change their shape, and give ``migrate(key, value)``, or a pair of such functions, which makes a
    new value of an old one. A message whose key or time cannot be told fails.

    Raises `GraphError` where a side is no source, both read one queue, ``lateness`` or ``late`` is given without ``time``,
    or an option is not what it should be.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> out = []
    >>> orders, payments = memory.items([("a", 10), ("b", 20)]), memory.items([("b", 25), ("c", 25)])
    >>> pairs = join(orders, payments, on=lambda each: each[0], time=lambda each: each[1], within="1m", how="outer")
    >>> Pipeline("paid", pairs | memory.into(out)).run()
    >>> sorted((pair.key, pair.left, pair.right) for pair in out)
    [('a', ('a', 10), None), ('b', ('b', 20), ('b', 25)), ('c', None, ('c', 25))]
    """
    length = seconds(within)
    if length <= 0:
        raise GraphError(f"join(within={within!r}): values of one time alone would be pairs; give a duration longer than 0")
    if how not in _KEPT:
        raise GraphError(f"join(how={how!r}): write how='inner', how='left' or how='outer'")
    late = where_to(late, f"join(late={late!r})")
    if time is None and (late is not None or seconds(lateness)):
        raise GraphError("join: without time= nothing can be late; give time=, or leave out lateness and late")
    if idle is not None and seconds(idle) == 0:
        raise GraphError(f"join(idle={idle!r}): idle must be longer than 0, or None")
    operator = _Join(
        f"join({how}, within {within})",
        both(on, "join(on=...)"),
        None if time is None else both(time, "join(time=...)"),
        length + _EXACT,
        _KEPT[how],
        seconds(lateness),
        None if idle is None else seconds(idle),
        late,
        version,
        None if migrate is None else both(migrate, "join(migrate=...)", "a key and an old value"),
    )
    return Sides("join", left=left, right=right) | operator


class _Join(Joining):
    def __init__(
        self,
        title: str,
        on: Sequence[Callable[[Any], Hashable]],
        time: Sequence[Callable[[Any], float | datetime]] | None,
        within: float,
        kept: tuple[bool, bool],
        lateness: float,
        idle: float | None,
        late: WhereTo,
        version: int,
        migrate: Sequence[Callable[[Hashable, Any], Any]] | None,
    ) -> None:
        self.title = title
        self.on = on
        self.time = time
        self.within = within
        self.kept = kept
        self.lateness = lateness
        self.idle = idle
        self.late: WhereTo = late
        self.version = version
        self.migrate = migrate

    @property
    def name(self) -> str:
        return self.title

    @property
    def guarantee(self) -> str:
        waits = self.time is not None and self.idle is None
        return (
            "acknowledged when its pairs are safe and no more can come"
            + (", late values dropped" if self.late == "drop" else "")
            + (", a silent side is waited for while values of the other hold half of the credit" if waits else "")
        )

    @property
    def holds(self) -> int | None:
        return None

    def branches(self) -> Iterator[tuple[str, Step]]:
        if isinstance(self.late, Sink):
            yield "late", self.late

    def handlers(self, stage: Stage) -> tuple[Handler, Handler]:
        running = ByClock(self, stage) if self.time is None else ByEvent(self, stage, self.time)
        return partial(running.take, 0), partial(running.take, 1)
