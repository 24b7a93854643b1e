"""Each operator beside its counterpart in reactivex, on the same marbles: the same values at the same times.

A failure is where the two differ once for all: in reactivex an error ends the stream; here the message that failed passes
the steps by and the stream goes on, as if it had not come. What else differs by design is said in the table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import reactivex as rx
from reactivex import Observable
from reactivex import operators as ops
from reactivex.testing import ReactiveTest, TestScheduler

import warren.operators
from warren import Pipeline, constant
from warren.connectors import memory
from warren.core.graph import Operator
from warren.operators import (
    aggregate,
    batch,
    broadcast,
    count,
    debounce,
    deduplicate,
    delay,
    discard,
    distinct,
    distinct_until_changed,
    fallback,
    filter,
    flat_map,
    map,
    merge,
    retry,
    route,
    sample,
    scan,
    split,
    tap,
    throttle,
    timeout,
    tumbling,
    window,
)
from warren.operators import rx as adapted
from warren.testing import virtual

Marbles = Sequence[tuple[float, Any]]
BAD = -1
BEGIN = float(ReactiveTest.subscribed)
END = 30.0
COMPLETED = ReactiveTest.on_completed(BEGIN + END)
CASES: dict[str, Marbles] = {
    "empty": [],
    "single": [(1, 1)],
    "many": [(0.5, 1), (1, 2), (1.5, 2), (4, 3), (4.2, 1), (11, 4), (12.5, 4), (13.5, 5)],
    "edge": [(1, 1), (3, 2), (5, 3), (10, 4), (12, 5), (14, 6)],
    "instant": [(1, 1), (1, 2), (6, 3), (6, 3)],
}
"""When what comes; steps below work with times of 2 and 5 seconds."""


@dataclass
class Pair:
    """An operator, its counterpart, and the cases in which they differ, with what warren gives then and why."""

    operator: Callable[[], Operator[Any, Any]]
    counterpart: Callable[[Observable[Any]], Observable[Any]]
    differs: dict[str, tuple[str, Marbles]] = field(default_factory=dict)


def key(value: int) -> int:
    return value % 2


def times_ten(value: int) -> int:
    return value * 10


def add(total: int, value: int) -> int:
    return total + value


def flaky() -> Callable[[int], int]:
    """Fails when a value comes for the first time, and for good when it is odd and above 2."""
    tried: set[int] = set()

    def work(value: int) -> int:
        if value not in tried or (value > 2 and value % 2):
            tried.add(value)
            raise ValueError("no")
        return value

    return work


def called(work: Callable[[int], int], value: int) -> Observable[int]:
    return rx.defer(lambda _: rx.just(work(value)))


def each(inner: Callable[[int], Observable[Any]]) -> Callable[[Observable[Any]], Observable[Any]]:
    return lambda source: source.pipe(ops.flat_map(inner))


def _halves(shared: Observable[int]) -> Any:
    return zip(ops.partition(key)(shared), (str, times_ten), strict=True)


def inverse(value: int) -> float:
    return 6 / (value - 2)


async def slow(value: int) -> int:
    await asyncio.sleep(value * 0.5)
    return value


AFTER = "what comes at the very end of a time comes after it, and not in it"
FIRST = "periods begin with the first value and not with the subscription"

PAIRS: dict[str, Pair] = {
    "map": Pair(lambda: map(times_ten), lambda source: source.pipe(ops.map(times_ten))),
    "filter": Pair(lambda: filter(key), lambda source: source.pipe(ops.filter(key))),
    "flat_map": Pair(lambda: flat_map(lambda v: [v] * (v % 3)), each(lambda v: rx.from_iterable([v] * (v % 3)))),
    "scan": Pair(lambda: scan(add, 0), lambda source: source.pipe(ops.scan(add, seed=0))),
    "aggregate": Pair(
        lambda: aggregate(by=key, n=count()) | map(lambda row: (row["key"], row["n"])),
        lambda source: source.pipe(
            ops.group_by(key),
            ops.flat_map(lambda group: group.pipe(ops.scan(lambda n, _: n + 1, seed=0), ops.map(lambda n: (group.key, n)))),
        ),
    ),
    "distinct": Pair(distinct, lambda source: source.pipe(ops.distinct())),
    "deduplicate": Pair(lambda: deduplicate(lambda v: v), lambda source: source.pipe(ops.distinct())),
    "distinct_until_changed": Pair(distinct_until_changed, lambda source: source.pipe(ops.distinct_until_changed())),
    "batch": Pair(lambda: batch(2), lambda source: source.pipe(ops.buffer_with_count(2))),
    "window": Pair(
        # Windows of the clock, which starts at 0 here; reactivex gives empty ones too.
        lambda: window(tumbling("5s")) | map(lambda held: held.values),
        lambda source: source.pipe(ops.buffer_with_time(5), ops.filter(bool)),
        {"edge": (AFTER, [(5, [1, 2]), (10, [3]), (15, [4, 5, 6])])},
    ),
    "debounce": Pair(
        lambda: debounce("2s"),
        lambda source: source.pipe(ops.debounce(2)),
        {"edge": (AFTER, [(3, 1), (5, 2), (7, 3), (12, 4), (14, 5), (16, 6)])},
    ),
    "sample": Pair(
        lambda: sample("5s"),
        lambda source: source.pipe(ops.sample(5)),
        {
            "single": (FIRST, [(6, 1)]),
            "many": (FIRST, [(5.5, 1), (15.5, 5)]),
            "edge": (FIRST, [(6, 3), (11, 4), (16, 6)]),
            "instant": (FIRST, [(6, 2), (11, 3)]),
        },
    ),
    "delay": Pair(lambda: delay("2s"), lambda source: source.pipe(ops.delay(2))),
    "timeout": Pair(
        lambda: timeout(map(slow, concurrency=100, ordered=False), "2.25s"),
        each(lambda v: rx.timer(v * 0.5).pipe(ops.map(lambda _: v), ops.timeout(2.25, rx.empty()))),
    ),
    "throttle": Pair(
        lambda: throttle(1, per="2s"),
        lambda source: source.pipe(
            ops.map(lambda v: rx.concat(rx.just(v), rx.empty().pipe(ops.delay(2)))), ops.merge(max_concurrent=1)
        ),
    ),
    "retry": Pair(
        lambda: map(flaky()) | retry(constant(0, attempts=2)),
        lambda source: (
            lambda work: source.pipe(
                ops.flat_map(lambda v: called(work, v).pipe(ops.retry(2), ops.catch(lambda *_: rx.empty())))
            )
        )(flaky()),
    ),
    "fallback": Pair(
        lambda: map(inverse) | fallback(lambda value, error: 0.0, on=ZeroDivisionError),
        each(lambda v: rx.defer(lambda _: rx.just(inverse(v))).pipe(ops.catch(lambda error, _: rx.just(0.0)))),
    ),
    "route": Pair(
        lambda: route(key, {0: map(times_ten), 1: map(str)}),
        lambda source: source.pipe(
            ops.group_by(key), ops.flat_map(lambda group: group.pipe(ops.map(str if group.key else times_ten)))
        ),
    ),
    "split": Pair(
        lambda: split(key, map(str), map(times_ten)),
        lambda source: source.pipe(
            ops.publish(lambda shared: rx.merge(*(half.pipe(ops.map(f)) for half, f in _halves(shared))))
        ),
    ),
    "tap": Pair(lambda: tap(times_ten), lambda source: source.pipe(ops.do_action(times_ten))),
    "broadcast": Pair(
        lambda: broadcast(a=map(times_ten), b=map(str)),
        lambda source: source.pipe(
            ops.publish(lambda shared: rx.merge(shared.pipe(ops.map(times_ten)), shared.pipe(ops.map(str))))
        ),
    ),
    "rx": Pair(lambda: adapted(ops.distinct_until_changed()), lambda source: source.pipe(ops.distinct_until_changed())),
}

ALONE = {
    "bisect": "finds the rows of a frame for which a step raises; reactivex knows no frames",
    "circuit_breaker": "stops calling what fails; there is no such operator",
    "columns": "computes with Polars; reactivex knows no frames",
    "dead_letter": "where failures go; in reactivex they end the stream",
    "encode": "says how a sink writes; reactivex has no sinks that encode",
    "enrich": "looks up many at a time with a cache; there is no such operator",
    "explode": "rows of a frame; reactivex knows no frames",
    "for_each": "steps for the rows of a message that comes out as one again; there is no such operator",
    "frames": "values as frames; reactivex knows no frames",
    "join": "pairs by key and event time; reactivex's join pairs what lives at the same time, of any key",
    "join_table": "the row of a key as it is; there is no such operator",
    "validate": "types and versions of values; there is no such operator",
}
"""Those without a counterpart, and why."""

SINKS_AND_SOURCES = {"discard", "merge"}
"""Compared below, as they are no steps."""

PARTS = {
    *("Backoff", "constant", "exponential", "linear", "decorrelated", "budget"),  # what `retry` is given
    "Pair",  # what `join` gives
    *("Window", "tumbling", "hopping", "session"),  # what `window` is given, and gives
    *("count", "total", "mean", "largest", "smallest", "collect", "custom", "first", "last", "variance", "deviation"),
    *("distinct_count", "top", "quantile"),  # what `aggregate` is given
}


def test_every_operator_is_compared_or_has_a_reason() -> None:
    names = set(warren.operators.__all__)
    assert names == PAIRS.keys() | ALONE.keys() | SINKS_AND_SOURCES | PARTS


def hot(scheduler: TestScheduler, marbles: Marbles, *end: Any) -> Observable[Any]:
    return scheduler.create_hot_observable(*(ReactiveTest.on_next(BEGIN + at, value) for at, value in marbles), *end)


def recorded(scheduler: TestScheduler, create: Callable[[], Observable[Any]]) -> Marbles:
    seen = scheduler.start(create, disposed=BEGIN + 1000.0).messages
    return [(round(float(each.time) - BEGIN, 3), each.value.value) for each in seen if each.value.kind == "N"]


def theirs(counterpart: Callable[[Observable[Any]], Observable[Any]], marbles: Marbles, *end: Any) -> Marbles:
    """What reactivex gives, and when."""
    scheduler = TestScheduler()
    source = hot(scheduler, marbles, *end)
    return recorded(scheduler, lambda: counterpart(source))


def ours(operator: Operator[Any, Any], marbles: Marbles, ends: bool = True) -> tuple[Marbles, int]:
    """What warren gives, and when; and how many messages failed."""
    seen: list[tuple[float, Any]] = []

    def note(value: Any) -> None:
        seen.append((round(asyncio.get_running_loop().time(), 3), value))

    def refuse(value: Any) -> Any:
        if value == BAD:
            raise ValueError("bad")
        return value

    pipeline = Pipeline("p", memory.items([]) | map(refuse) | operator | tap(note) | memory.into([]))
    with virtual(pipeline) as run:
        for at, value in marbles:
            run.advance(max(0.0, at - run.now)).send(value)
        run.advance(END - run.now if ends else 1000)
        if not ends:
            return list(seen), len(run.dead_letters)
    return seen, len(run.dead_letters)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", PAIRS)
def test_the_same_values_at_the_same_times(name: str, case: str) -> None:
    pair, marbles = PAIRS[name], CASES[case]
    expected = theirs(pair.counterpart, marbles, COMPLETED)
    if case in pair.differs:
        _, mine = pair.differs[case]
        assert mine != expected
        expected = mine
    assert ours(pair.operator(), marbles)[0] == expected


@pytest.mark.parametrize("name", PAIRS)
def test_a_stream_that_never_gives_anything_gives_nothing(name: str) -> None:
    assert ours(PAIRS[name].operator(), [], ends=False)[0] == theirs(PAIRS[name].counterpart, []) == []


@pytest.mark.parametrize("name", PAIRS)
def test_an_error_is_passed_by_where_it_ends_the_stream_of_reactivex(name: str) -> None:
    pair, marbles = PAIRS[name], CASES["many"]
    seen, failed = ours(pair.operator(), [*marbles[:4], (4.1, BAD), *marbles[4:]])
    whole, before = ours(pair.operator(), marbles)
    assert (seen, failed) == (whole, before + 1)
    cut = theirs(pair.counterpart, marbles[:4], ReactiveTest.on_error(BEGIN + 4.1, ValueError("bad")))
    assert cut == seen[: len(cut)]


def test_merge() -> None:
    first, second = CASES["many"], CASES["edge"]
    scheduler = TestScheduler()
    sources = [hot(scheduler, marbles, COMPLETED) for marbles in (first, second)]
    expected = recorded(scheduler, lambda: rx.merge(*sources))
    seen: list[tuple[float, Any]] = []
    a, b = memory.queue("a", int), memory.queue("b", int)
    noted = tap(lambda value: seen.append((round(asyncio.get_running_loop().time(), 3), value)))
    with virtual(Pipeline("p", merge(a, b) | noted | memory.into([]))) as run:
        for at, value, name in sorted([(*m, "memory:a") for m in first] + [(*m, "memory:b") for m in second], key=_when):
            run.advance(max(0.0, at - run.now)).send(value, to=name)
    assert seen == expected


def _when(arrival: tuple[float, Any, str]) -> tuple[float, str]:
    return arrival[0], arrival[2]


@pytest.mark.parametrize("case", CASES)
def test_discard_is_as_ignore_elements(case: str) -> None:
    trial = Pipeline("p", memory.items([]) | discard()).test([value for _, value in CASES[case]])
    assert trial.values == theirs(lambda source: source.pipe(ops.ignore_elements()), CASES[case]) == []
    assert sum(trial.outcomes.values()) == len(CASES[case])
