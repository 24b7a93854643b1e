"""The joins of one running pipeline: by event time, and by the clock."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import datetime
from functools import partial
from itertools import compress, repeat
from math import inf
from typing import Any, Protocol

from warren.core.chunk import Chunk, Failure
from warren.core.receipt import FILTERED, RELEASED, Token
from warren.core.stage import Stage
from warren.operators.event_time import EventTime
from warren.operators.holding import together
from warren.operators.keys import keys_of, left_of
from warren.operators.late import Late, WhereTo
from warren.operators.pairs import BY_TIME, Entry, Open, Pair, Shelf, Unsafe, pair_of
from warren.operators.sides import LEFT
from warren.operators.times import iso, times_of

__all__ = ["ByClock", "ByEvent", "Settings"]

# Virtual schedulers round to microseconds; a value that comes at the last moment is in time.
_TICK = 1e-6


class Settings(Protocol):
    """What `join` was told."""

    on: Sequence[Callable[[Any], Hashable]]
    within: float
    kept: tuple[bool, bool]
    lateness: float
    idle: float | None
    late: WhereTo
    version: int
    migrate: Sequence[Callable[[Hashable, Any], Any]] | None


class _Join:
    """A join in one running pipeline."""

    def __init__(self, join: Settings, stage: Stage) -> None:
        self.join = join
        self.stage = stage
        self.open = Open(), Open()
        self.timer: Callable[[], None] | None = None
        migrate = None if join.migrate is None else self.migrate
        table = stage.table("join", version=join.version, migrate=migrate, inside=True)
        self.shelf = None if table is None else Shelf(stage, table, join.kept)
        if self.shelf is not None:
            entries, again = self.shelf.restore()
            for side, open in enumerate(self.open):
                open.add([entry for entry in entries if entry.side == side])
            if entries or again:
                stage.later(0.0, partial(self.resume, again), busy=True)
        self.reached = -inf if self.shelf is None else self.shelf.watermark
        """The time that has come."""
        stage.run.on_flush(self.flush)

    def migrate(self, key: Hashable, sided: tuple[int, Any]) -> Any:
        """Make a new value of an old one and its side."""
        assert self.join.migrate is not None
        return self.join.migrate[sided[0]](key, sided[1])

    def take(self, side: int, chunk: Chunk) -> Chunk:
        """Put values of one side beside those of the other."""
        raise NotImplementedError

    def put(
        self, side: int, keys: Sequence[Hashable], times: Sequence[float], chunk: Chunk, failures: list[Failure]
    ) -> Chunk:
        """Put values with keys and times there; returns what to give, with the failures."""
        entries = list(map(Entry, repeat(side), keys, times, chunk.values, chunk.tokens))
        strangers: list[Entry] = []
        if None in keys:
            strangers = [entry for entry in entries if entry.key is None]
            entries = [entry for entry in entries if entry.key is not None]
        pairs = self.match(side, entries)
        self.open[side].add(entries)
        if self.shelf is not None:
            self.shelf.take(entries)
        out = _joined([self.paired(pairs), self.expired(self.reached - self.join.within), self.unknown(side, strangers)])
        out.failures = failures
        self.wait()
        return out

    def match(self, side: int, entries: Sequence[Entry]) -> list[tuple[Entry, Entry]]:
        """The pairs that values of one side make with those of the other; the left comes first."""
        within, others = self.join.within, self.open[1 - side].by_key.get
        pairs = [
            (entry, other)
            for entry in entries
            for other in others(entry.key, ())
            if -within <= other.time - entry.time <= within
        ]
        return pairs if side == LEFT else [(left, right) for right, left in pairs]

    def paired(self, pairs: Sequence[tuple[Entry, Entry]]) -> Chunk:
        """What to give for pairs."""
        values = [Pair(left.key, left.value, right.value) for left, right in pairs]
        if self.shelf is not None:
            return self.shelf.give_pairs(pairs, values)
        return Chunk(values, list(map(self.token, pairs)))

    def expired(self, until: float) -> Chunk:
        """Take out what is from before a time, as nothing can come for it any more, and what to give of it."""
        kept = self.join.kept
        gone = [*self.open[0].pop(until), *self.open[1].pop(until)]
        alone = [entry for entry in gone if kept[entry.side] and not entry.matched]
        done = gone if not alone else [entry for entry in gone if not kept[entry.side] or entry.matched]
        alone.sort(key=BY_TIME)
        if self.shelf is not None:
            self.shelf.watermark = self.reached
            self.shelf.drop(done)
            return self.shelf.give_alone(alone)
        self.stage.settle(_tokens(done), FILTERED)
        return Chunk(list(map(pair_of, alone)), _tokens(alone))

    def unknown(self, side: int, strangers: Sequence[Entry]) -> Chunk:
        """What to give for values without a key, of which nothing is kept."""
        if self.join.kept[side]:
            return Chunk(list(map(pair_of, strangers)), _tokens(strangers))
        self.stage.settle(_tokens(strangers), FILTERED)
        return Chunk([], ())

    def token(self, pair: tuple[Entry, Entry]) -> Token:
        """A token for a pair, of a part of either message; the rest stays with the value."""
        ledger = self.stage.ledger
        parts: list[Token] = []
        for entry in pair:
            if entry.matched:
                parts.append(ledger.another(entry.token))  # type: ignore[arg-type]  # it was split below
            else:
                entry.matched = True
                entry.token, part = ledger.split(entry.token, 2)  # type: ignore[arg-type]  # nothing is kept, so it has one
                parts.append(part)
        return ledger.merge((parts,))

    def later(self, delay: float, *, idle: bool = False) -> None:
        if self.timer is None:
            self.timer = self.stage.later(max(0.0, delay), self.wake, idle=idle)

    def wake(self) -> None:
        self.timer = None
        self.due()

    def wait(self) -> None:
        """See to it that what is held goes on when its time is over."""
        raise NotImplementedError

    def due(self) -> None:
        """What to do when the timer fires."""
        raise NotImplementedError

    def give(self, chunk: Chunk) -> None:
        if chunk.values:
            self.stage.emit(chunk)

    def resume(self, again: Sequence[Unsafe]) -> None:
        """Go on where an earlier run ended: what was not known to be safe is given again."""
        assert self.shelf is not None
        self.give(self.shelf.give_again(again))
        self.give(self.expired(self.reached - self.join.within))
        self.wait()

    def flush(self) -> None:
        if self.timer is not None:
            self.timer()
            self.timer = None
        if self.shelf is None and self.stage.run.stopping:
            # Their partners may come when the pipeline runs again.
            for open in self.open:
                self.stage.settle(_tokens(entry for entry in open if not entry.matched), RELEASED)
            self.expired(inf)
        elif self.shelf is None or self.stage.run.exhausted:
            self.give(self.expired(inf))


class ByEvent(_Join):
    """Values tell their times; the side that is behind says what time it is."""

    def __init__(self, join: Settings, stage: Stage, time: Sequence[Callable[[Any], float | datetime]]) -> None:
        super().__init__(join, stage)
        self.time = time
        self.event = EventTime(stage, lateness=join.lateness, idle=join.idle, watermark=self.reached)
        self.late = Late(stage, join.late)

    def take(self, side: int, chunk: Chunk) -> Chunk:
        stage = self.stage
        self.event.hear(chunk.tokens)
        passed = self.event.watermark
        if self.shelf is not None:
            chunk = self.shelf.fresh(chunk, partial(self.heard, side))
        told, chunk, failures = times_of(stage, self.time[side], chunk)
        keys, rest, more = keys_of(stage, self.join.on[side], chunk, "on")
        failures += more
        times = left_of(told, chunk, rest)
        if times:
            self.reached = self.event.advance(times, rest.tokens)
        if times and min(times) < passed:
            late = [time < passed for time in times]
            failures += self.refuse(rest.select(late), [time for time in times if time < passed])
            in_time = [not each for each in late]
            keys, times, rest = list(compress(keys, in_time)), list(compress(times, in_time)), rest.select(in_time)
        return self.put(side, keys, times, rest, failures)

    def heard(self, side: int, chunk: Chunk) -> None:
        """What was counted before a crash tells how far event time had come by then."""
        times, chunk, _ = times_of(self.stage, self.time[side], chunk)
        if times:
            self.reached = self.event.advance(times, chunk.tokens)

    def refuse(self, chunk: Chunk, times: Sequence[float]) -> list[Failure]:
        """Values that are older than event time go where they are to go; returns those that fail."""
        reached = self.event.watermark
        reasons = (
            f"an event of {iso(time)} came late: event time had reached {iso(reached)}, and what it would be joined with "
            f"may be forgotten; raise lateness above {reached + self.join.lateness - time:g}s to wait for such events"
            for time in times
        )
        return self.late.take(chunk, reasons)

    def wait(self) -> None:
        if self.join.idle is not None and self.timer is None and any(self.open):
            self.later(self.event.wait() or 0.0, idle=not self.event.disputed)

    def due(self) -> None:
        if self.event.wait() is None:
            self.give(self.expired(inf))
        else:
            self.reached = self.event.look()
            self.give(self.expired(self.reached - self.join.within))
            self.wait()


class ByClock(_Join):
    """A value's time is when it came; a timer lets go of it."""

    def read_clock(self) -> float:
        # The system's clock may be set back; what is over stays over.
        self.reached = max(self.reached, self.stage.run.clock())
        return self.reached

    def take(self, side: int, chunk: Chunk) -> Chunk:
        if self.shelf is not None:
            chunk = self.shelf.fresh(chunk)
        keys, chunk, failures = keys_of(self.stage, self.join.on[side], chunk, "on")
        return self.put(side, keys, [self.read_clock()] * len(keys), chunk, failures)

    def wait(self) -> None:
        if any(self.open):
            first = min(open.first for open in self.open)
            self.later(first + self.join.within + _TICK - self.read_clock())

    def due(self) -> None:
        self.give(self.expired(self.read_clock() - self.join.within))
        self.wait()


def _joined(chunks: Iterable[Chunk]) -> Chunk:
    some = [chunk for chunk in chunks if chunk.values]
    return next(iter(together(some))) if some else Chunk([], ())


def _tokens(entries: Iterable[Entry]) -> list[Token]:
    return [entry.token for entry in entries if entry.token is not None]
