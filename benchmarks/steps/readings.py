"""The messages that most of these benchmarks are about, how a side is timed, and what it is checked against."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import msgspec

__all__ = ["EPOCH", "START", "Reading", "checked", "readings", "sessions", "windows"]

START = 1_700_000_000.0
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Reading(msgspec.Struct):
    """What a message says; ``at`` is ``time`` in the form that Bytewax asks for."""

    key: str
    time: float
    at: datetime
    value: int


def readings(size: int, keys: int, rate: float, pause: int = 0) -> list[Reading]:
    """Readings of so many keys in turn, so many in a second of event time, with an hour's gap after each ``pause``."""
    names = [f"key-{i}" for i in range(keys)]
    found = []
    for i in range(size):
        moment = START + i / rate + (i // pause * 3600.0 if pause else 0.0)
        # Not in order: the odd ones of two neighbours come first.
        moment += (-1.0 if i % 2 else 1.0) / rate
        at = datetime.fromtimestamp(moment, UTC)
        found.append(Reading(names[i * 7919 % keys], at.timestamp(), at, i % 401))
    return found


def windows(found: list[Reading], length: float, every: float) -> list[tuple[str, tuple[int, ...]]]:
    """What is in the windows of each key, sorted."""
    by_window: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for reading in found:
        last = int(reading.time // every)
        for number in range(int((reading.time - length) // every) + 1, last + 1):
            by_window[reading.key, number].append(reading.value)
    return sorted((key, tuple(sorted(values))) for (key, _), values in by_window.items())


def sessions(found: list[Reading], gap: float) -> list[tuple[str, tuple[int, ...]]]:
    """What is in the sessions of each key, sorted."""
    by_key: defaultdict[str, list[Reading]] = defaultdict(list)
    for reading in found:
        by_key[reading.key].append(reading)
    result = []
    for key, mine in by_key.items():
        mine.sort(key=lambda reading: reading.time)
        run = [mine[0].value]
        for before, after in pairwise(mine):
            if after.time - before.time >= gap:
                result.append((key, tuple(sorted(run))))
                run = []
            run.append(after.value)
        result.append((key, tuple(sorted(run))))
    return sorted(result)


def checked(
    make: Callable[[int], Any], work: Callable[[Any], Any], model: Callable[[Any], Any], form: Callable[[Any], Any] = list
) -> Callable[[int], float]:
    """A subject that makes its input, times the work alone, and compares what it gave, in a form, with the model.

    Its value is messages a second.
    """

    def run(size: int) -> float:
        given = make(size)
        start = time.perf_counter()
        found = work(given)
        seconds = time.perf_counter() - start
        if (found := form(found)) != (right := model(given)):
            raise ValueError(f"the results are {str(found)[:200]} and should be {str(right)[:200]}")
        return size / seconds

    return run
