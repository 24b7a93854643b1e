"""`window`: values that belong together in time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Sequence
from datetime import UTC, datetime
from math import inf, isfinite
from typing import Any, Generic, Literal, TypeVar, overload

import msgspec

from warren.core.chunk import Chunk, Failure, apply_each
from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError, HandlerError, LateError, shorten
from warren.core.graph import Operator
from warren.core.receipt import FILTERED, Token
from warren.core.stage import Handler, Stage
from warren.operators.shelf import Shelf
from warren.operators.spans import Kind, hopping, session, tumbling

__all__ = ["Window", "hopping", "session", "tumbling", "window"]

K = TypeVar("K")
T = TypeVar("T")

# Virtual schedulers round to microseconds, so a timer may fire that much too early.
_TICK = 1e-6


class Window(msgspec.Struct, Generic[K, T], frozen=True):
    """The values of one key in one window; ``start`` (inside) and ``end`` (outside) are in seconds since 1970."""

    key: K
    start: float
    end: float
    values: list[T]


@overload
def window(
    kind: Kind,
    *,
    by: None = None,
    time: Callable[[T], float | datetime] | None = ...,
    lateness: Duration = ...,
    idle: Duration | None = ...,
    late: Literal["drop"] | None = ...,
) -> Operator[T, Window[None, T]]: ...
@overload
def window(
    kind: Kind,
    *,
    by: Callable[[T], K],
    time: Callable[[T], float | datetime] | None = ...,
    lateness: Duration = ...,
    idle: Duration | None = ...,
    late: Literal["drop"] | None = ...,
) -> Operator[T, Window[K, T]]: ...
def window(
    kind: Kind,
    *,
    by: Callable[[T], Hashable] | None = None,
    time: Callable[[T], float | datetime] | None = None,
    lateness: Duration = 0,
    idle: Duration | None = "30s",
    late: Literal["drop"] | None = None,
) -> Operator[T, Window[Any, T]]:
    """Collect values into windows of a `tumbling`, `hopping` or `session` kind, one for each key that ``by`` gives.

    By event time, which ``time`` gives (seconds since 1970, or a datetime with a time zone), a window closes when a
    value comes that is at least ``lateness`` past its end; a message that `retry` holds in the process is waited for,
    a parked one is not. A value whose window is closed fails with `LateError`, or is dropped with ``late="drop"``.
    When no value came for ``idle`` (``None``: never mind), and when the pipeline drains, all windows close; should
    more of such a window come, it opens again and gives a second `Window`. Without ``time``, a value's time is when
    it came, and windows close by the clock.

    So a graceful stop gives an open window as it is, and the rest of it comes as a second `Window` of the same key and
    start when the pipeline runs again: deduplicate by the values a row counts, not by key and start alone.

    Windows leave in order of their ends, then of their first values; their values are in order of arrival, where sessions
    joined, piece by piece. An empty window is never given.

    Keeps the delivery guarantee: the messages of a window are acknowledged together, when everything made of it is safe,
    so a window holds their credit. A message whose time or key cannot be told fails.

    Raises `GraphError` where ``lateness`` or ``late`` is given without ``time``, or is not what it should be.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> by_minute = window(tumbling("1m"), time=lambda event: event)
    >>> result = Pipeline("minutes", memory.items([]) | by_minute | memory.into([])).test([0, 59, 60])
    >>> [(window.start, window.values) for window in result.values]
    [(0.0, [0, 59]), (60.0, [60])]
    """
    if not isinstance(kind, Kind):
        raise GraphError(f"window({kind!r}): give a kind of window: tumbling('1h'), hopping('1h', '15m') or session('10m')")
    for function, field in ((by, "by"), (time, "time")):
        if function is not None and not callable(function):
            raise GraphError(f"window({kind}, {field}={function!r}): give a function of one value")
    if late not in (None, "drop"):
        raise GraphError(f"window({kind}, late={late!r}): leave it out to fail late values, or write late='drop'")
    if time is None and (late is not None or seconds(lateness)):
        raise GraphError(f"window({kind}): without time= nothing can be late; give time=, or leave out lateness and late")
    if idle is not None and seconds(idle) == 0:
        raise GraphError(f"window({kind}, idle={idle!r}): idle must be longer than 0, or None")
    return _Window(kind, by, time, seconds(lateness), None if idle is None else seconds(idle), late == "drop")


class _Window(Operator[Any, Window[Any, Any]]):
    def __init__(
        self,
        kind: Kind,
        by: Callable[[Any], Hashable] | None,
        time: Callable[[Any], float | datetime] | None,
        lateness: float,
        idle: float | None,
        drop: bool,
    ) -> None:
        self.kind = kind
        self.by = by
        self.time = time
        self.lateness = lateness
        self.idle = idle
        self.drop = drop

    @property
    def name(self) -> str:
        return f"window({self.kind})"

    @property
    def guarantee(self) -> str:
        return "acknowledged together, after the window closes" + (", late values dropped" if self.drop else "")

    @property
    def holds(self) -> int | None:
        return None

    def attach(self, stage: Stage) -> Handler:
        return _ByClock(self, stage).take if self.time is None else _ByEvent(self, stage, self.time).take


class _Windows:
    """The open windows of one running pipeline."""

    def __init__(self, operator: _Window, stage: Stage) -> None:
        self.operator = operator
        self.stage = stage
        self.open = operator.kind.open(stage.ledger)
        self.timer: Callable[[], None] | None = None
        self.watermark = -inf
        table = stage.table("window")
        self.shelf = None if table is None else Shelf(stage, table, self.open)
        if self.shelf is not None:
            self.watermark = self.shelf.restore()
            if self.open.next_end < inf:
                stage.later(0.0, self.resume, busy=True)
        stage.run.on_flush(self.flush)

    def closed(self, until: float, failures: Sequence[Failure] = ()) -> Chunk:
        """Close the windows that end by then."""
        if self.open.next_end > until:
            return Chunk([], (), failures)
        spans = self.open.close(until)
        windows = [Window(span.key, span.start, span.end, span.values) for span in spans]
        if self.shelf is not None:
            chunk = self.shelf.give(spans, windows)
            chunk.failures = failures
            return chunk
        return Chunk(windows, [self.stage.ledger.merge(span.segments) for span in spans], failures)

    def give(self, until: float) -> None:
        chunk = self.closed(until)
        if chunk.values:
            self.stage.emit(chunk)

    def ask(
        self, function: Callable[[Any], Any], subjects: list[Any], chunk: Chunk, failures: list[Failure]
    ) -> tuple[list[Any], Chunk]:
        """The answers for each subject, and the part of the chunk that has one."""
        answers, errors = apply_each(function, subjects)
        if not errors:
            return answers, chunk
        failures += self.stage.failures(chunk, errors)
        return answers, chunk.select([i not in errors for i in range(len(chunk.values))])

    def key(self, value: Any) -> Hashable:
        assert self.operator.by is not None
        key = self.operator.by(value)
        try:
            hash(key)
        except TypeError as error:
            raise HandlerError(
                f"{self.stage}: by= answered {shorten(key)} for {shorten(value)}, which cannot be a key; "
                "answer with a text, a number or a tuple of these"
            ) from error
        return key

    def later(self, delay: float, *, idle: bool = False) -> None:
        if self.timer is None:
            self.timer = self.stage.later(max(0.0, delay), self.wake, idle=idle)

    def flush(self) -> None:
        if self.timer is not None:
            self.timer()
            self.timer = None
        # What is kept may stay open; only what is known to be whole is closed before its time.
        if self.shelf is None or self.stage.run.exhausted:
            self.give(inf)

    def wake(self) -> None:
        self.timer = None
        self.due()

    def add(self, times: list[float], keys: Sequence[Hashable], chunk: Chunk, closed: float) -> dict[int, float]:
        """Put values into their windows; give the ends of those that are closed, by position."""
        late = self.open.add(times, keys, chunk.values, chunk.tokens, closed)
        if self.shelf is not None:
            self.shelf.take([t for i, t in enumerate(chunk.tokens) if i not in late] if late else chunk.tokens)
        return late

    def resume(self) -> None:
        """Go on with windows that were open before; those that had closed are given again."""
        self.due()

    def due(self) -> None:
        """What to do when the timer fires."""
        raise NotImplementedError


class _ByClock(_Windows):
    """A value's time is when it came; a timer closes windows."""

    def __init__(self, operator: _Window, stage: Stage) -> None:
        super().__init__(operator, stage)
        self.now = -inf

    def read_clock(self) -> float:
        # The system's clock may be set back; windows that are closed stay closed.
        self.now = max(self.now, self.stage.run.clock())
        return self.now

    def take(self, chunk: Chunk) -> Chunk:
        failures: list[Failure] = []
        if self.shelf is not None:
            chunk = self.shelf.fresh(chunk)
        now = self.read_clock()
        keys: Sequence[Hashable] = [None] * len(chunk.values)
        if self.operator.by is not None:
            keys, chunk = self.ask(self.key, chunk.values, chunk, failures)
        if chunk.values:
            self.add([now] * len(chunk.values), keys, chunk, -inf)
        out = self.closed(now, failures)
        self.wait(now)
        return out

    def due(self) -> None:
        now = self.read_clock()
        self.give(now + _TICK)
        self.wait(now)

    def wait(self, now: float) -> None:
        if self.open.next_end < inf:
            self.later(self.open.next_end - now)


class _ByEvent(_Windows):
    """A value tells its time; the newest value, less the lateness, closes windows."""

    def __init__(self, operator: _Window, stage: Stage, time: Callable[[Any], Any]) -> None:
        super().__init__(operator, stage)
        self.time = time
        self.newest = -inf
        # The newest source token seen after each chunk, rising, and the newest time among tokens up to it.
        self.origins: list[int] = []
        self.maxima: list[float] = []
        self.heard = 0.0

    def take(self, chunk: Chunk) -> Chunk:
        failures: list[Failure] = []
        if self.shelf is not None:
            chunk = self.shelf.fresh(chunk)
        self.heard = self.stage.run.clock()
        # What was held back for a retry has come; if it waited for the retry below to say so, its window could not close.
        self.stage.ledger.resume(chunk.tokens)
        times, chunk = self.ask(self.time, chunk.values, chunk, failures)
        if not set(map(type, times)) <= {int, float} or not isfinite(sum(times)):
            times, chunk = self.ask(self.seconds, times, chunk, failures)
        keys: Sequence[Hashable] = [None] * len(times)
        if self.operator.by is not None:
            keys, errors = apply_each(self.key, chunk.values)
            if errors:
                times = [time for i, time in enumerate(times) if i not in errors]
                left = self.stage.survivors(chunk, [v for i, v in enumerate(chunk.values) if i not in errors], errors)
                failures += left.failures
                chunk = left
        if times:
            late = self.add(times, keys, chunk, self.watermark)
            self.advance(max(times), chunk.tokens)
            if self.shelf is not None:
                self.shelf.watermark = self.watermark
            if late:
                self.refuse(late, times, chunk, failures)
        out = self.closed(self.watermark, failures)
        if self.operator.idle is not None and self.open.next_end < inf:
            self.later(self.operator.idle, idle=True)
        return out

    def seconds(self, time: Any) -> float:
        if isinstance(time, datetime):
            if time.tzinfo is not None:
                return time.timestamp()
            problem, remedy = "has no time zone", "add one, such as .replace(tzinfo=UTC)"
        elif isinstance(time, int | float) and not isinstance(time, bool):
            if isfinite(time):
                return time
            problem, remedy = "is no point in time", "filter such values out before"
        else:
            problem, remedy = "is no time", "answer with seconds since 1970 or a datetime with a time zone"
        raise HandlerError(f"{self.stage}: time= answered {shorten(time)}, which {problem}; {remedy}")

    def advance(self, newest: float, tokens: Sequence[Token]) -> None:
        """Let event time go on, but not past a message that is held back for a retry."""
        self.newest = max(self.newest, newest)
        origin = tokens[-1] if isinstance(tokens, range) else self.newest_origin(tokens)
        if self.origins and origin <= self.origins[-1]:
            # An older message, tried again: it counts as late as all that came before it.
            self.maxima[-1] = self.newest
        else:
            self.origins.append(origin)
            self.maxima.append(self.newest)
        floor = self.stage.ledger.floor
        if floor is None:
            del self.origins[:-1], self.maxima[:-1]
            reached = self.newest
        else:
            older = bisect_left(self.origins, floor)
            reached = self.maxima[older - 1] if older else -inf
        self.watermark = max(self.watermark, reached - self.operator.lateness)

    def newest_origin(self, tokens: Sequence[Token]) -> int:
        newest: Token | None = None
        try:
            newest = max(tokens)  # type: ignore[type-var]  # integers in nearly every case, else it raises
        except TypeError:
            pass
        # A token alone is compared with nothing, so that it raised nothing says nothing.
        return newest if isinstance(newest, int) else max(next(self.stage.ledger.origins(token)) for token in tokens)

    def refuse(self, late: dict[int, float], times: list[float], chunk: Chunk, failures: list[Failure]) -> None:
        if self.operator.drop:
            self.stage.settle([chunk.tokens[i] for i in late], FILTERED)
            return
        for i, end in late.items():
            error = LateError(
                f"{self.stage}: an event of {_iso(times[i])} came after its window, which ends at {_iso(end)}, was closed: "
                f"event time had reached {_iso(self.watermark)}; "
                f"raise lateness above {self.newest - end:g}s to wait for such events"
            )
            # Trying it again would not make it earlier.
            failures.append(Failure(chunk.tokens[i], chunk.values[i], error, self.stage.name, chunk.attempt))

    def resume(self) -> None:
        self.heard = self.stage.run.clock()
        self.give(self.watermark)
        super().resume()

    def due(self) -> None:
        idle = self.operator.idle
        if idle is None or self.open.next_end == inf:
            return
        left = self.heard + idle - self.stage.run.clock()
        if self.stage.ledger.floor is not None:
            # A message that is held back for a retry will be heard of.
            self.later(max(left, idle), idle=True)
        elif left > _TICK:
            self.later(left, idle=True)
        else:
            self.give(inf)


def _iso(time: float) -> str:
    try:
        return datetime.fromtimestamp(time, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, OSError, ValueError):
        return f"{time:g}s"
