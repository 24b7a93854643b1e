"""Values of two streams that wait for a partner, and how they outlive a run."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import chain, count, islice
from math import inf
from operator import attrgetter, gt
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from warren.core.chunk import Chunk
from warren.core.receipt import Token
from warren.core.stage import Stage
from warren.core.state import Table
from warren.operators.shelf import KEPT, uncounted
from warren.operators.sides import LEFT

__all__ = ["BY_TIME", "Entry", "Open", "Pair", "Shelf", "Unsafe", "pair_of"]

K = TypeVar("K")
L = TypeVar("L")
R = TypeVar("R")


class Pair(msgspec.Struct, Generic[K, L, R], frozen=True):
    """Two values of one key that belong together; where one has no partner, the other is ``None``."""

    key: K
    left: L
    right: R


class Entry(msgspec.Struct, eq=False):
    """One value of a side; ``token`` settles what is left of its message once all its pairs are given."""

    side: int
    key: Hashable
    time: float
    value: Any
    token: Token | None
    matched: bool = False
    number: int = 0
    id: str = ""


_REACHED = "reached"
BY_TIME: Callable[[Entry], float] = attrgetter("time")


def pair_of(entry: Entry) -> Pair[Any, Any, Any]:
    """A value without a partner."""
    return Pair(entry.key, entry.value, None) if entry.side == LEFT else Pair(entry.key, None, entry.value)


class Unsafe(NamedTuple):
    """A pair that is not known to be safe, and the key under which it is kept."""

    key: Hashable
    pair: Pair[Any, Any, Any]
    id: str


class Open:
    """The values of one side that may still get a partner: by key, and in order of their times."""

    def __init__(self) -> None:
        self.by_key: dict[Hashable, list[Entry]] = {}
        # What came together is one run in order of time: by the time of its first, and a number that tells equal ones apart.
        self._runs: list[tuple[float, int, list[Entry]]] = []
        self._numbers = count()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._runs)

    @property
    def first(self) -> float:
        """The earliest of their times; infinite where there is none."""
        return self._runs[0][0] if self._runs else inf

    def __iter__(self) -> Iterator[Entry]:
        """All of them."""
        return chain.from_iterable(self.by_key.values())

    def add(self, entries: list[Entry]) -> None:
        """Take in some that came together."""
        if not entries:
            return
        get, by_key = self.by_key.get, self.by_key
        for entry in entries:
            same = get(entry.key)
            if same is None:
                by_key[entry.key] = [entry]
            else:
                same.append(entry)
        times = list(map(BY_TIME, entries))
        if any(map(gt, times, islice(times, 1, None))):
            entries = sorted(entries, key=BY_TIME)
        heappush(self._runs, (entries[0].time, next(self._numbers), entries))

    def pop(self, until: float) -> list[Entry]:
        """Take out those from before a time."""
        runs, gone = self._runs, []
        while runs and runs[0][0] < until:
            _, number, entries = heappop(runs)
            end = bisect_left(entries, until, key=BY_TIME) if until < inf else len(entries)
            gone += entries[:end]
            if end < len(entries):
                heappush(runs, (entries[end].time, number, entries[end:]))
        for entry in gone:
            same = self.by_key[entry.key]
            if len(same) == 1:
                del self.by_key[entry.key]
            else:
                same.remove(entry)
        return gone


class Shelf:
    """Keeps what is open, each value under its number; and each pair, under both numbers, until it is safe."""

    def __init__(self, stage: Stage, table: Table, rewrites: Sequence[bool]) -> None:
        self.stage = stage
        self.table = table
        self.rewrites = rewrites
        """Of which side it is kept whether a value has had a partner."""
        self.outbox = stage.outbox(table)
        self.watermark = -inf
        self._number = self._saved = 0
        self._written = (0, -inf)
        self._changed: dict[int, Entry] = {}
        table.before = self._write

    def restore(self) -> tuple[list[Entry], list[Unsafe]]:
        """What was open, oldest first, and the pairs that were not known to be safe."""
        table = self.table
        self._written = table.pop(_REACHED, self._written)
        self._number, self.watermark = self._written
        self._saved = self._number
        entries, unsafe = [], []
        for number, row in table.items():
            if isinstance(number, int):
                side, key, time, value, matched, id = row
                entries.append(Entry(side, key, time, value, None, matched, number, id))
            else:
                unsafe.append(Unsafe(number, Pair(*row[:3]), row[3]))
        if table.renew is not None:
            unsafe = self._renewed(entries, unsafe, table.renew)
        table.clear()
        return sorted(entries, key=attrgetter("number")), unsafe

    def _renewed(
        self, entries: Sequence[Entry], unsafe: Sequence[Unsafe], migrate: Callable[[Hashable, Any], Any]
    ) -> list[Unsafe]:
        """Make all values anew, and have them written in place of the old ones, those that are open under other numbers."""
        self.table.remove(list(self.table))
        for entry in sorted(entries, key=attrgetter("number")):
            entry.value = migrate(entry.key, (entry.side, entry.value))
            self._number += 1
            entry.number = self._number
            self._changed[entry.number] = entry
        renewed = []
        for key, pair, id in unsafe:
            sides = enumerate((pair.left, pair.right))
            left, right = (None if value is None else migrate(pair.key, (side, value)) for side, value in sides)
            self.table.put(key, 0, (pair.key, left, right, id))
            renewed.append(Unsafe(key, Pair(pair.key, left, right), id))
        return renewed

    def fresh(self, chunk: Chunk, heard: Callable[[Chunk], None] | None = None) -> Chunk:
        """The values that are not here yet; the messages of the others are done, once ``heard`` was told of them."""
        return uncounted(self.stage, self.table, chunk, heard)

    def take(self, entries: Sequence[Entry]) -> None:
        """Take in values; their messages are done."""
        tokens = [entry.token for entry in entries if entry.token is not None]
        for entry, id in zip(entries, self.table.count(tokens), strict=True):
            self._number += 1
            entry.number, entry.id, entry.token = self._number, id or str(self._number), None
            self._changed[self._number] = entry
        self.stage.settle(tokens, KEPT)

    def drop(self, entries: Sequence[Entry]) -> None:
        """Forget values that are needed no more."""
        for entry in entries:
            self._changed.pop(entry.number, None)
        self.table.remove(entry.number for entry in entries if entry.number <= self._saved)

    def give_pairs(self, pairs: Sequence[tuple[Entry, Entry]], values: Sequence[Pair[Any, Any, Any]]) -> Chunk:
        """Pairs, which are kept until they are safe."""
        unsafe = []
        for (left, right), pair in zip(pairs, values, strict=True):
            unsafe.append(Unsafe((left.number, right.number), pair, f"{self.table.step}/{left.id}+{right.id}"))
            self.table.put(unsafe[-1].key, 0, (pair.key, pair.left, pair.right, unsafe[-1].id))
            for entry in (left, right):
                if not entry.matched:
                    entry.matched = True
                    if self.rewrites[entry.side]:
                        self._changed[entry.number] = entry
        return self.give_again(unsafe)

    def give_alone(self, entries: Sequence[Entry]) -> Chunk:
        """Values without a partner, which are kept until they are safe."""
        return self.give_again([Unsafe(each.number, pair_of(each), f"{self.table.step}/{each.id}") for each in entries])

    def give_again(self, unsafe: Sequence[Unsafe]) -> Chunk:
        """What is kept until it is safe, perhaps by an earlier run."""
        if not unsafe:
            return Chunk([], ())
        keys, values, ids = zip(*unsafe, strict=True)
        return self.outbox.chunk(keys, values, ids)

    def _write(self) -> None:
        """Note for the checkpoint what has changed."""
        table = self.table
        if self._written != (self._number, self.watermark):
            self._written = (self._number, self.watermark)
            table.put(_REACHED, 0, self._written)
        for number, entry in self._changed.items():
            if number not in table.removed:
                table.put(number, 0, (entry.side, entry.key, entry.time, entry.value, entry.matched, entry.id))
        self._changed.clear()
        self._saved = self._number
