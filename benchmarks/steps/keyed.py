"""Running totals by key with the state in a file: how many updates a second, over few keys and over many."""

from __future__ import annotations

from benchmarks.harness import Bar, Case, Mark, Subject
from benchmarks.steps.readings import Reading, checked, readings
from benchmarks.steps.sides import in_bytewax, in_warren
from benchmarks.steps.single import RATE, TIMES, add, bytewax_totals, key, running_totals

__all__ = ["BARS", "CASES", "MARKS"]

BAR = 200_000
"""Updates a second over 100,000 keys."""
CREDIT = 500_000
"""Enough for a checkpoint every second at that rate: half of it may wait for one, the rest comes while it is written."""


def with_warren(values: list[Reading]) -> list[int]:
    from warren.operators import scan

    return in_warren(values, scan(add, 0, by=key), state=True, credit=CREDIT)


def with_bytewax(values: list[Reading]) -> list[int]:
    return in_bytewax(values, bytewax_totals, state=True)


def over(keys: int) -> Case:
    def make(size: int) -> list[Reading]:
        return readings(size, keys, RATE)

    return Case(
        f"state-{keys}",
        "updates/s",
        [
            Subject("warren", checked(make, with_warren, running_totals, sorted)),
            Subject("bytewax", checked(make, with_bytewax, running_totals, sorted), needs="bytewax"),
        ],
        size=1_000_000,
        quick_size=200_000,
        note=f"{keys:,} key(s), the state on disk every second",
        quick=keys == 100_000,
    )


CASES = [over(keys) for keys in (1, 1_000, 100_000)]
BARS = [Bar(case.name, "bytewax", TIMES) for case in CASES]
MARKS = [Mark(CASES[-1].name, BAR)]
