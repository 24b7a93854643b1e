"""What steps that hold values for a time share: one timer for many times, and the newest value of each key."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import chain, groupby, islice
from math import inf
from typing import Any

from warren.core.chunk import Chunk, Failure
from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError
from warren.core.graph import Operator, name_of
from warren.core.receipt import FILTERED
from warren.core.stage import Handler, Stage
from warren.operators.keys import check_function, keys_of

__all__ = ["Alarm", "Newest", "Thinned", "period", "together"]


def period(duration: Duration, place: str) -> float:
    """A duration above zero that ends some day, in seconds; `GraphError` for any other.

    >>> period("1m", "debounce")
    60.0
    """
    length = seconds(duration)
    if not 0 < length < inf:
        raise GraphError(f"{place}({duration!r}): give a duration longer than 0 that ends, such as '5s'")
    return length


def together(chunks: Iterable[Chunk]) -> Iterable[Chunk]:
    """The values of several chunks in as few as can be: one for neighbours that are on the same attempt.

    >>> [chunk.values for chunk in together([Chunk([1], [1]), Chunk([2], [2]), Chunk([3], [3], (), 2)])]
    [[1, 2], [3]]
    """
    for attempt, group in groupby(chunks, lambda chunk: chunk.attempt):
        first, *more = group
        if more:
            same = (first, *more)
            values = list(chain.from_iterable(chunk.values for chunk in same))
            yield Chunk(values, list(chain.from_iterable(chunk.tokens for chunk in same)), (), attempt)
        else:
            yield first


class Alarm:
    """One timer for many times; ``ring`` is called with the time when the earliest it was set to has come.

    Its time never goes back, whatever is done to the clock of the system.
    """

    def __init__(self, stage: Stage, ring: Callable[[float], None], *, busy: bool = False) -> None:
        self.stage = stage
        self.ring = ring
        self.busy = busy
        self.due = inf
        self._now = -inf
        self._cancel: Callable[[], None] | None = None

    def now(self) -> float:
        """The time."""
        self._now = max(self._now, self.stage.run.clock())
        return self._now

    def set(self, due: float) -> None:
        """Ring at a time, or earlier if it is set to ring before."""
        if due < self.due:
            self.clear()
            self.due = due
            self._cancel = self.stage.later(max(0.0, due - self.now()), self._fire, busy=self.busy)

    def clear(self) -> None:
        """Do not ring."""
        if self._cancel is not None:
            self._cancel()
        self._cancel, self.due = None, inf

    def _fire(self) -> None:
        # A timer may fire a tick early, and the clock may have been set back: it is due all the same.
        self._now = max(self.now(), self.due)
        self._cancel, self.due = None, inf
        self.ring(self._now)


class Newest:
    """The newest value of each key with the time it came, the longest waiting first; older ones are settled as filtered."""

    def __init__(self, stage: Stage, by: Callable[[Any], Hashable] | None) -> None:
        self.stage = stage
        self.by = by
        self.held: dict[Hashable, tuple[float, Chunk]] = {}

    def add(self, chunk: Chunk, now: float) -> Sequence[Failure]:
        """Keep the newest values of a chunk; give the failures of those that have no key."""
        failures: Sequence[Failure] = ()
        held, settle = self.held, self.stage.settle
        last: dict[Hashable, int] = {None: len(chunk.values) - 1}
        if self.by is not None:
            keys, chunk, failures = keys_of(self.stage, self.by, chunk)
            last = dict(zip(keys, range(len(keys)), strict=True))
        tokens = chunk.tokens
        places = sorted(last.items(), key=lambda item: item[1]) if len(last) > 1 else last.items()
        for key, place in places:
            before = held.pop(key, None)
            if before is not None:
                settle(before[1].tokens, FILTERED)
            held[key] = now, Chunk([chunk.values[place]], (tokens[place],), (), chunk.attempt)
        if len(last) == 1:
            settle(tokens[:-1], FILTERED)
        elif len(last) < len(tokens):
            kept = set(last.values())
            settle([token for place, token in enumerate(tokens) if place not in kept], FILTERED)
        return failures

    def give(self, age: float = 0.0, now: float = inf) -> None:
        """Pass on what has reached an age; all, unless told so."""
        out: list[Chunk] = []
        for came, chunk in self.held.values():
            if came + age > now:
                break
            out.append(chunk)
        for key in list(islice(self.held, len(out))):
            del self.held[key]
        for chunk in together(out):
            self.stage.emit(chunk)


class Thinned(Operator[Any, Any]):
    """A step that passes on only the newest value within a length of time, of all or of each key."""

    passes = True

    def __init__(
        self,
        kind: str,
        length: Duration,
        by: Callable[[Any], Hashable] | None,
        thinning: Callable[[float, Newest, Stage], Any],
    ) -> None:
        if by is not None:
            check_function(by, f"{kind}(by=...)")
        self.kind = kind
        self.length = period(length, kind)
        self.by = by
        self.thinning = thinning

    @property
    def name(self) -> str:
        """Its kind, with the length of time and the key."""
        return f"{self.kind}({self.length:g}s{'' if self.by is None else f' by {name_of(self.by)}'})"

    @property
    def guarantee(self) -> str:
        """What it drops."""
        return "older values dropped"

    @property
    def holds(self) -> int | None:
        """One value, or one of each key."""
        return 1 if self.by is None else None

    def attach(self, stage: Stage) -> Handler:
        """What takes chunks and decides when the newest value goes on."""
        handler: Handler = self.thinning(self.length, Newest(stage, self.by), stage).take
        return handler
