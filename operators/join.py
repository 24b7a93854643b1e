"""`join`: two streams as pairs of values with one key that lie close in time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import datetime
from functools import partial
from itertools import repeat
from math import inf
from typing import Any, Literal, TypeVar, overload

from warren.core.chunk import Chunk, Failure
from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError, LateError
from warren.core.graph import Source
from warren.core.receipt import FILTERED, RELEASED, Token
from warren.core.stage import Handler, Stage
from warren.operators.event_time import EventTime
from warren.operators.holding import together
from warren.operators.keys import keys_of, left_of
from warren.operators.pairs import BY_TIME, Entry, Open, Pair, Shelf, Unsafe, pair_of
from warren.operators.sides import LEFT, Joining, Sides, both
from warren.operators.times import iso, times_of

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
    time: Callable[[L | R], float | datetime] | tuple[Callable[[L], float | datetime], Callable[[R], float | datetime]],
    within: Duration,
    how: Literal["inner"] = ...,
    lateness: Duration = ...,
    idle: Duration | None = ...,
    late: Literal["drop"] | None = ...,
) -> Source[Pair[K, L, R]]: ...
@overload
def join(
    left: Source[L],
    right: Source[R],
    *,
    on: Callable[[L | R], K] | tuple[Callable[[L], K], Callable[[R], K]],
    time: Callable[[L | R], float | datetime] | tuple[Callable[[L], float | datetime], Callable[[R], float | datetime]],
    within: Duration,
    how: Literal["left"],
    lateness: Duration = ...,
    idle: Duration | None = ...,
    late: Literal["drop"] | None = ...,
) -> Source[Pair[K, L, R | None]]: ...
@overload
def join(
    left: Source[L],
    right: Source[R],
    *,
    on: Callable[[L | R], K] | tuple[Callable[[L], K], Callable[[R], K]],
    time: Callable[[L | R], float | datetime] | tuple[Callable[[L], float | datetime], Callable[[R], float | datetime]],
    within: Duration,
    how: Literal["outer"],
    lateness: Duration = ...,
    idle: Duration | None = ...,
    late: Literal["drop"] | None = ...,
) -> Source[Pair[K, L | None, R | None]]: ...
def join(
    left: Source[Any],
    right: Source[Any],
    *,
    on: Any,
    time: Any,
    within: Duration,
    how: Literal["inner", "left", "outer"] = "inner",
    lateness: Duration = 0,
    idle: Duration | None = "30s",
    late: Literal["drop"] | None = None,
) -> Source[Pair[Any, Any, Any]]:
    """Two sources as one of pairs: of the values with one key whose times are at most ``within`` apart.

    ``on`` gives the key and ``time`` the event time (seconds since 1970, or a datetime with a time zone): one function for
    both sides, or a pair of them. As in SQL, ``None`` as a key is equal to no other. Each `Pair` goes on as soon as both
    values are there. With ``how="left"`` a value of the left goes on with ``None`` once nothing can come for it any more,
    with ``how="outer"`` a value of either side.

    Event time goes on with the newest value of each side, less ``lateness``, and the side that is behind counts; one that
    has ended, or gave nothing for ``idle`` (``None``: never mind), holds it back no longer. A value that is older fails with
    `LateError`, or is dropped with ``late="drop"``, as its partners may be forgotten: ``lateness`` is how far out of order
    the values of a side may be. When no side gave a value for ``idle``, and when the sources have ended, nothing more is
    waited for.

    Keeps the delivery guarantee: a message is acknowledged when event time is ``within`` past it and all its pairs are safe,
    so it holds credit for so long; at a stop, what had no partner yet goes back to its source. With ``Pipeline(state=...)``
    a message is acknowledged when a checkpoint has it, and pairs are given again after a crash until they are safe. A
    message whose key or time cannot be told fails.

    Raises `GraphError` where a side is no source, both read one queue, or an option is not what it should be.

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
    if late not in (None, "drop"):
        raise GraphError(f"join(late={late!r}): leave it out to fail late values, or write late='drop'")
    if idle is not None and seconds(idle) == 0:
        raise GraphError(f"join(idle={idle!r}): idle must be longer than 0, or None")
    operator = _Join(
        f"join({how}, within {within})",
        both(on, "join(on=...)"),
        both(time, "join(time=...)"),
        length + _EXACT,
        _KEPT[how],
        seconds(lateness),
        None if idle is None else seconds(idle),
        late == "drop",
    )
    return Sides("join", left=left, right=right) | operator


class _Join(Joining):
    def __init__(
        self,
        title: str,
        on: Sequence[Callable[[Any], Hashable]],
        time: Sequence[Callable[[Any], float | datetime]],
        within: float,
        kept: tuple[bool, bool],
        lateness: float,
        idle: float | None,
        drop: bool,
    ) -> None:
        self.title = title
        self.on = on
        self.time = time
        self.within = within
        self.kept = kept
        self.lateness = lateness
        self.idle = idle
        self.drop = drop

    @property
    def name(self) -> str:
        return self.title

    @property
    def guarantee(self) -> str:
        return "acknowledged when its pairs are safe and no more can come" + (", late values dropped" if self.drop else "")

    @property
    def holds(self) -> int | None:
        return None

    def handlers(self, stage: Stage) -> tuple[Handler, Handler]:
        running = _Running(self, stage)
        return partial(running.take, 0), partial(running.take, 1)


class _Running:
    """A join in one running pipeline."""

    def __init__(self, join: _Join, stage: Stage) -> None:
        self.join = join
        self.stage = stage
        self.open = Open(), Open()
        self.timer: Callable[[], None] | None = None
        table = stage.table("join")
        self.shelf = None if table is None else Shelf(stage, table, join.kept)
        if self.shelf is not None:
            entries, again = self.shelf.restore()
            for side, open in enumerate(self.open):
                open.add([entry for entry in entries if entry.side == side])
            if entries or again:
                stage.later(0.0, partial(self.resume, again), busy=True)
        reached = -inf if self.shelf is None else self.shelf.watermark
        self.event = EventTime(stage, lateness=join.lateness, idle=join.idle, watermark=reached)
        stage.run.on_flush(self.flush)

    def take(self, side: int, chunk: Chunk) -> Chunk:
        """Put values of one side beside those of the other."""
        join, stage = self.join, self.stage
        self.event.hear(chunk.tokens)
        passed = self.event.watermark
        if self.shelf is not None:
            chunk = self.shelf.fresh(chunk, partial(self.heard, side))
        told, chunk, failures = times_of(stage, join.time[side], chunk)
        keys, rest, more = keys_of(stage, join.on[side], chunk, "on")
        failures += more
        times = left_of(told, chunk, rest)
        if times:
            self.event.advance(times, rest.tokens)
        entries = list(map(Entry, repeat(side), keys, times, rest.values, rest.tokens))
        if times and min(times) < passed:
            self.refuse([entry for entry in entries if entry.time < passed], failures, chunk.attempt)
            entries = [entry for entry in entries if entry.time >= passed]
        strangers: list[Entry] = []
        if None in keys:
            strangers = [entry for entry in entries if entry.key is None]
            entries = [entry for entry in entries if entry.key is not None]
        pairs = self.match(side, entries)
        self.open[side].add(entries)
        if self.shelf is not None:
            self.shelf.take(entries)
        out = _joined([self.paired(pairs), self.expired(self.event.watermark - join.within), self.unknown(side, strangers)])
        out.failures = failures
        self.wait()
        return out

    def heard(self, side: int, chunk: Chunk) -> None:
        """What was counted before a crash tells how far event time had come by then."""
        times, chunk, _ = times_of(self.stage, self.join.time[side], chunk)
        if times:
            self.event.advance(times, chunk.tokens)

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
            self.shelf.watermark = self.event.watermark
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

    def refuse(self, late: Sequence[Entry], failures: list[Failure], attempt: int) -> None:
        """What to do with values that are older than event time."""
        if self.join.drop:
            self.stage.settle(_tokens(late), FILTERED)
            return
        reached = self.event.watermark
        for entry in late:
            error = LateError(
                f"{self.stage}: an event of {iso(entry.time)} came late: event time had reached {iso(reached)}, and what it "
                f"would be joined with may be forgotten; raise lateness above "
                f"{reached + self.join.lateness - entry.time:g}s to wait for such events"
            )
            assert entry.token is not None
            # Trying it again would not make it earlier.
            failures.append(Failure(entry.token, entry.value, error, self.stage.name, attempt))

    def wait(self) -> None:
        """See to it that what is held goes on when a side falls silent."""
        if self.join.idle is not None and self.timer is None and any(self.open):
            self.timer = self.stage.later(self.event.wait() or 0.0, self.wake, idle=not self.event.disputed)

    def wake(self) -> None:
        self.timer = None
        if self.event.wait() is None:
            self.give(self.expired(inf))
        else:
            self.give(self.expired(self.event.look() - self.join.within))
            self.wait()

    def give(self, chunk: Chunk) -> None:
        if chunk.values:
            self.stage.emit(chunk)

    def resume(self, again: Sequence[Unsafe]) -> None:
        """Go on where an earlier run ended: what was not known to be safe is given again."""
        assert self.shelf is not None
        self.give(self.shelf.give_again(again))
        self.give(self.expired(self.event.watermark - self.join.within))
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


def _joined(chunks: Iterable[Chunk]) -> Chunk:
    some = [chunk for chunk in chunks if chunk.values]
    return next(iter(together(some))) if some else Chunk([], ())


def _tokens(entries: Iterable[Entry]) -> list[Token]:
    return [entry.token for entry in entries if entry.token is not None]
