"""The windows of one running pipeline: by the clock, and by event time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from math import inf
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import msgspec

from warren.core.chunk import Chunk, Failure
from warren.core.stage import Stage
from warren.operators.event_time import EventTime
from warren.operators.figures import Accumulator, Figures, Summed
from warren.operators.keys import answers, keys_of, left_of
from warren.operators.kinds import Kind
from warren.operators.late import Late, WhereTo
from warren.operators.shelf import Shelf
from warren.operators.times import iso, times_of

__all__ = ["ByClock", "ByEvent", "Settings", "Window"]

Columns: TypeAlias = list[list[Any]]
"""What is known of each value of a chunk: the time, the key, and what was extracted for figures."""

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


class Settings(Protocol):
    """What `window` was told."""

    kind: Kind
    by: Callable[[Any], Hashable] | None
    lateness: float
    idle: float | None
    late: WhereTo
    figures: Figures | None
    version: int
    migrate: Callable[[Hashable, Any], Any] | None


class _Windows:
    """The open windows of one running pipeline."""

    def __init__(self, operator: Settings, stage: Stage) -> None:
        self.operator = operator
        self.stage = stage
        figures = operator.figures
        self.figures = None if figures is None else Accumulator(figures)
        self.open = operator.kind.open(stage.ledger, self.figures)
        self.timer: Callable[[], None] | None = None
        # Figures are another state than values, and other figures are another one.
        name = "window" if figures is None else f"window | aggregate({', '.join(figures.fields)})"
        table = stage.table(name, version=operator.version, migrate=operator.migrate, inside=True)
        self.shelf = None if table is None else Shelf(stage, table, self.open, sums=figures is not None)
        if self.shelf is not None:
            self.shelf.restore()
            if self.open.next_end < inf:
                stage.later(0.0, self.resume, busy=True)
        stage.run.on_flush(self.flush)

    def closed(self, until: float, failures: Sequence[Failure] = ()) -> Chunk:
        """Close the windows that end by then."""
        if self.open.next_end > until:
            return Chunk([], (), failures)
        spans = self.open.close(until)
        made: Callable[..., Any] = Window if self.figures is None else Summed
        windows = [made(span.key, span.start, span.end, span.values) for span in spans]
        if self.shelf is not None:
            chunk = self.shelf.give(spans, windows)
            chunk.failures = failures
            return chunk
        return Chunk(windows, [self.stage.ledger.merge(span.segments) for span in spans], failures)

    def give(self, until: float) -> None:
        chunk = self.closed(until)
        if chunk.values:
            self.stage.emit(chunk)

    def describe(self, chunk: Chunk, columns: Columns, failures: list[Failure]) -> Chunk:
        """Append the keys, and what the figures are made of, to the columns."""
        by, stage = self.operator.by, self.stage
        if by is None:
            columns.append([None] * len(chunk.values))
        else:
            chunk = self.note(keys_of(stage, by, chunk), chunk, columns, failures)
        if self.figures is not None:
            for extract in self.figures.extracts:
                chunk = self.note(answers(stage, extract, chunk), chunk, columns, failures)
        return chunk

    def note(
        self,
        found: tuple[Sequence[Any], Chunk, list[Failure]],
        chunk: Chunk,
        columns: Columns,
        failures: list[Failure],
    ) -> Chunk:
        """Append what was found for each value to the columns; returns the part of the chunk that has it."""
        column, rest, failed = found
        failures += failed
        columns[:] = [*(list(left_of(each, chunk, rest)) for each in columns), list(column)]
        return rest

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

    def add(self, columns: Columns, chunk: Chunk, closed: float, failures: list[Failure]) -> dict[int, float]:
        """Put values into their windows; give the ends of those that are closed, by position."""
        times, keys, *extracted = columns
        if self.figures is not None:
            self.figures.take(chunk.values, extracted)
        late = self.open.add(times, keys, chunk.values, chunk.tokens, closed)
        out: Collection[int] = late
        if self.figures is not None and self.figures.errors:
            failures += self.stage.failures(chunk, self.figures.errors)
            out = late.keys() | self.figures.errors.keys()
        if self.shelf is not None:
            self.shelf.take([t for i, t in enumerate(chunk.tokens) if i not in out] if out else chunk.tokens)
        return late

    def resume(self) -> None:
        """Go on with windows that were open before; those that had closed are given again."""
        self.due()

    def due(self) -> None:
        """What to do when the timer fires."""
        raise NotImplementedError


class ByClock(_Windows):
    """A value's time is when it came; a timer closes windows."""

    def __init__(self, operator: Settings, stage: Stage) -> None:
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
        columns: Columns = [[now] * len(chunk.values)]
        chunk = self.describe(chunk, columns, failures)
        if chunk.values:
            self.add(columns, chunk, -inf, failures)
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


class ByEvent(_Windows):
    """A value tells its time; the newest values of the sources, less the lateness, close windows."""

    def __init__(self, operator: Settings, stage: Stage, time: Callable[[Any], Any]) -> None:
        super().__init__(operator, stage)
        self.time = time
        restored = -inf if self.shelf is None else self.shelf.watermark
        self.event = EventTime(stage, lateness=operator.lateness, idle=operator.idle, watermark=restored)
        self.late = Late(stage, operator.late)

    def take(self, chunk: Chunk) -> Chunk:
        self.event.hear(chunk.tokens)
        closed = self.event.watermark
        if self.shelf is not None:
            chunk = self.shelf.fresh(chunk, self.heard)
        times, chunk, failures = times_of(self.stage, self.time, chunk)
        columns: Columns = [times]
        chunk = self.describe(chunk, columns, failures)
        if chunk.values:
            self.event.advance(columns[0], chunk.tokens)
            late = self.add(columns, chunk, closed, failures)
            if late:
                failures += self.refuse(late, columns[0], chunk)
        out = self.reach(failures)
        self.wait()
        return out

    def heard(self, chunk: Chunk) -> None:
        """What was counted before a crash tells how far event time had come by then."""
        times, chunk, _ = times_of(self.stage, self.time, chunk)
        if times:
            self.event.advance(times, chunk.tokens)

    def reach(self, failures: Sequence[Failure] = ()) -> Chunk:
        """Close the windows that event time has passed."""
        if self.shelf is not None:
            self.shelf.watermark = self.event.watermark
        return self.closed(self.event.watermark, failures)

    def wait(self) -> None:
        if self.operator.idle is not None and self.timer is None and self.open.next_end < inf:
            # Where sources differ, silence lets go of something even while there is no credit left to read.
            self.later(self.event.wait() or 0.0, idle=not self.event.disputed)

    def refuse(self, late: dict[int, float], times: list[float], chunk: Chunk) -> list[Failure]:
        """Late values go where they are to go; returns those that fail."""
        places, reached = list(late), self.event.watermark
        reasons = (
            f"an event of {iso(times[i])} came after its window, which ends at {iso(end)}, was closed: "
            f"event time had reached {iso(reached)}; "
            f"raise lateness above {reached + self.operator.lateness - end:g}s to wait for such events"
            for i, end in late.items()
        )
        return self.late.take(
            Chunk([chunk.values[i] for i in places], [chunk.tokens[i] for i in places], (), chunk.attempt), reasons
        )

    def resume(self) -> None:
        self.give(self.event.watermark)
        self.wait()

    def due(self) -> None:
        if self.open.next_end == inf:
            return
        if self.event.wait() is None:
            self.give(inf)
            return
        self.event.look()
        out = self.reach()
        if out.values:
            self.stage.emit(out)
        self.wait()
