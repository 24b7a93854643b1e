"""Random pipelines with state whose worker dies again and again, and what Polars makes of the same events in one go."""

from __future__ import annotations

import ast
import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import polars as pl

from tests.pipelines.mortal import Out, Source, World
from tests.pipelines.world import Violation
from warren.core.frozen import thaw
from warren.core.graph import Operator
from warren.core.state import Change
from warren.operators import (
    Window,
    aggregate,
    broadcast,
    collect,
    constant,
    count,
    deduplicate,
    distinct,
    filter,
    flat_map,
    hopping,
    map,
    merge,
    retry,
    scan,
    session,
    tap,
    total,
    tumbling,
    window,
)
from warren.pipelines.pipeline import Pipeline

__all__ = ["check"]

LATENESS = 4.0
END = 1e7
"""The time of the event that closes all windows before it."""


class Event(NamedTuple):
    n: int
    key: str
    time: float
    amount: int


class Row(NamedTuple):
    """What a step with state gives: of which key, from when to when, the figures, and of which events."""

    key: str | None
    start: float
    end: float
    count: int
    sum: int
    ns: tuple[int, ...]


class Step(NamedTuple):
    """A step without state: the operator, and what it makes of one event; ``None`` where that fails for good."""

    operator: Operator[Any, Any]
    apply: Callable[[Event], list[Event] | None]


def made(steps: Sequence[Step], events: Iterable[Event]) -> tuple[list[Event], bool]:
    """What steps make of events, and whether one of these ended as a dead letter."""
    whole, failed = list(events), False
    for step in steps:
        found = [(each, step.apply(each)) for each in whole]
        failed = failed or any(answer is None for _, answer in found)
        whole = [out for _, answer in found for out in answer or ()]
    return whole, failed


@dataclass
class Branch:
    """Steps, one with state among them, into a sink."""

    label: str
    kind: str
    steps: list[Step]
    whole: Operator[Any, Any]
    by_key: bool
    poisoned: Callable[[Any], bool]
    expected: Callable[[list[Event]], list[Row]]
    rows: list[Row] = field(default_factory=list)
    written: set[int] = field(default_factory=set)
    kept: dict[tuple[str, bytes, int], set[int]] = field(default_factory=dict)

    def write(self, row: Row) -> None:
        self.rows.append(row)
        self.written.update(row.ns)


class Story:
    """One random pipeline and the lives of its worker."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.world = World(draw)
        self.world.on_commit = self.committed
        self.failures = draw.choice([0.0, 0.1, 0.3])
        self.parks = draw.random() < 0.2
        two = draw.random() < 0.2
        # Where one that failed was in a window before, its double counts there as well.
        self.doubles = not self.parks and not self.world.reconnects and draw.random() < 0.3
        branches = draw.randint(1, 3)
        # What is parked, what two sources give, and what waits for a retry in one branch and not in the other comes in no
        # order that a lateness could bound.
        self.calm = not (self.parks or two or (self.failures and branches > 1))
        self.lateness = LATENESS if self.calm else 1e6
        self.sources = [self.source(i) for i in range(1 + two)]
        self.common = [self.step() for _ in range(draw.randint(0, 2))]
        self.branches = [self.branch(f"b{i}") for i in range(branches)]
        self.outs = [Out(self.world, branch.label, branch.write) for branch in self.branches]
        # What is parked is not remembered for longer than twice the credit.
        self.credit = 1000 if self.parks else draw.choice([8, 30, 1000])
        self.checkpoint = draw.choice(["10ms", "1s", "1m"])

    # The events

    def source(self, number: int) -> Source:
        count = self.draw.randint(1, 40)
        events = [
            Event(4 * (1000 * number + i), self.draw.choice("abc"), float(self.draw.randint(0, 40)), self.draw.randint(1, 9))
            for i in range(count)
        ]
        if self.doubles:
            events += self.draw.sample(events, self.draw.randint(0, count))
        events.sort(key=lambda event: event.time + self.draw.uniform(0, LATENESS - 0.1))
        source = Source(self.world, f"in{number}", [(f"m{i}", event) for i, event in enumerate(events)])
        source.on_acknowledge = lambda place: self.safe(source, place)
        return source

    # The steps

    def unreliable(self, work: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def handle(value: Any) -> Any:
            if self.world.faults and self.draw.random() < self.failures:
                raise ConnectionError("not now")
            return work(value)

        return handle

    def retried(self, step: Operator[Any, Any]) -> Operator[Any, Any]:
        delay = self.draw.choice([0.0, 0.3, 5.0])
        return step | retry(constant(delay, attempts=200), on=ConnectionError, park=1.0 if self.parks else 1e5)

    def step(self) -> Step:
        kinds = ["map", "filter", "flat_map", "tap", *["poison"] * (not self.doubles)]
        kind = self.draw.choice([*kinds, *["async"] * (not self.failures or not self.calm)])
        number = self.draw.randint(2, 5)

        def poison(event: Event) -> Event:
            if event.time < END and event.n // 4 % 7 == number:
                raise ValueError("never")
            return event

        def copies(event: Event) -> list[Event]:
            some = 1 if event.time == END or event.n % 4 else event.n // 4 % 4
            return [event._replace(n=event.n + i) for i in range(some)]

        def keep(event: Event) -> bool:
            return event.time == END or event.n // 4 % number != 0

        async def slow(event: Event) -> Event:
            await asyncio.sleep(self.draw.choice([0.0, 0.01, 2.0]))
            return event

        steps: dict[str, Callable[[], Step]] = {
            "map": lambda: Step(self.retried(map(self.unreliable(lambda event: event))), lambda event: [event]),
            "async": lambda: Step(map(slow, concurrency=3, ordered=True), lambda event: [event]),
            "filter": lambda: Step(filter(keep), lambda event: [event] * keep(event)),
            "flat_map": lambda: Step(self.retried(flat_map(self.unreliable(copies))), copies),
            "poison": lambda: Step(map(poison), lambda event: None if _fails(poison, event) else [event]),
            "tap": lambda: Step(self.retried(tap(self.unreliable(lambda event: None))), lambda event: [event]),
        }
        return steps[kind]()

    def branch(self, label: str) -> Branch:
        draw = self.draw
        kind = draw.choice(["window", "window", "window", "scan", "aggregate", "deduplicate", "distinct"])
        by_key = draw.random() < 0.6
        by = (lambda event: event.key) if by_key else None
        steps = [self.step() for _ in range(draw.randint(0, 2))]

        def poisoned(row: Any) -> bool:
            # A window of many that fails behind the state: its dead letter has the window.
            return poison and row.start % 3 == 1

        poison = kind == "window" and draw.random() < 0.3
        if kind == "window":
            size, every = draw.choice([(5, 5), (6, 2), (2.5, None)])
            shape = session(size) if every is None else tumbling(size) if size == every else hopping(size, every)
            whole = window(shape, by=by, time=lambda event: event.time, lateness=self.lateness, idle=None)
            if draw.random() < 0.5:
                figures = aggregate(count=count(), sum=total(lambda e: e.amount), ns=collect(lambda e: e.n))
                whole = whole | figures | map(lambda row: Row(**row | {"ns": tuple(sorted(row["ns"]))}))
            else:
                whole = whole | map(_row)
            whole = whole | map(lambda row: _refuse(row) if poisoned(row) else row)
            expected = _sessions(size) if every is None else _windows(size, every)
        elif kind == "scan":
            whole = scan(_add, Row(None, 0.0, 0.0, 0, 0, ()), by=by)
            expected = _sums
        elif kind == "aggregate":
            figures = aggregate(
                by=by or (lambda event: None), count=count(), sum=total(lambda e: e.amount), ns=collect(lambda e: e.n)
            )
            whole = figures | map(lambda row: Row(row["key"], 0.0, 0.0, row["count"], row["sum"], tuple(sorted(row["ns"]))))
            expected = _sums
        else:
            by_number = deduplicate(_number, None, limit=None, patience="30d")
            whole = (by_number if kind == "deduplicate" else distinct(_number, limit=None, patience="30d")) | map(_alone)
            expected = _each
        whole = self.retried(whole | map(self.unreliable(lambda row: row)))
        for step in reversed(steps):
            whole = step.operator | whole
        return Branch(label, kind, steps, whole, by_key, poisoned, expected)

    def pipeline(self, state: Any) -> Pipeline:
        begin: Any = self.sources[0] if len(self.sources) == 1 else merge(*self.sources)
        if self.doubles:
            begin = begin | deduplicate(_number, None, limit=None, patience="30d")
        for step in self.common:
            begin = begin | step.operator
        ends = {branch.label: branch.whole | out for branch, out in zip(self.branches, self.outs, strict=True)}
        return Pipeline(
            "crashing", begin | broadcast(**ends), state=state, credit=self.credit, checkpoint=self.checkpoint, shutdown="1d"
        )

    # What must hold

    def committed(self, changes: Sequence[Change]) -> None:
        """Values leave the state only when what was made of them is safe."""
        for change in changes:
            branch = next((each for each in self.branches if f".{each.label}/" in change.step), None)
            if branch is None or branch.kind != "window":
                continue
            gone: set[int] = set()
            for place in [place for place in branch.kept if place[:2] in {(change.step, key) for key in change.removed}]:
                gone |= branch.kept.pop(place)
            for (key, part), data in change.put.items():
                value = thaw(data)
                if part > 0:
                    branch.kept[change.step, key, part] = {event.n for event in value}
            if lost := gone - branch.written - self.lettered() - set().union(*branch.kept.values()):
                raise Violation(f"{branch.label}: {sorted(lost)} left the state before they were safe")

    def lettered(self) -> set[int]:
        """The events in windows that are dead letters."""
        found: set[int] = set()
        for source in self.sources:
            for body in source.bodies:
                if b'"values"' in body:
                    found.update(event[0] for event in ast.literal_eval(body.decode().replace("null", "None"))["values"])
        return found

    def safe(self, source: Source, place: int) -> None:
        """Raises where an event is acknowledged whose effect could be lost."""
        id, event = source.messages[place]
        events, failed = made(self.common, [event])
        for branch in self.branches:
            reached, fails = made(branch.steps, events)
            failed = failed or fails
            for n in (each.n for each in reached):
                if n not in branch.written and not any(n in ns for ns in branch.kept.values()) and n not in self.lettered():
                    raise Violation(f"{source.name}: {id} was acknowledged and {n} is nowhere behind {branch.label}")
        if failed and id not in source.letters:
            raise Violation(f"{source.name}: {id} was acknowledged without a dead letter")

    # The lives

    def live(self) -> None:
        try:
            self.lives()
            # Events that close all windows, behind everything: the first may come twice, and one copy of it hold time back.
            for i, source in enumerate(self.sources, 1):
                source.add("end", Event(-4 * i, "z", END, 0))
            self.lives()
            for i, source in enumerate(self.sources, 3):
                source.add("end of ends", Event(-4 * i, "z", END, 0))
            self.lives(0)
            self.compare()
        finally:
            self.world.end()

    def lives(self, most: int = 4) -> None:
        draw, world = self.draw, self.world
        world.faults = True
        for _ in range(draw.randint(0, most)):
            stop = draw.choice([None, None, 0.0, 0.5, 3.0])
            world.live(self.pipeline, int(10 ** draw.uniform(0, 3.5)), stop)
        world.faults = False
        for _ in range(20):
            world.live(self.pipeline)
            if all(len(source.acknowledged) == len(source.messages) for source in self.sources):
                return
        raise Violation("messages are left at the source")

    def compare(self) -> None:
        events = [event for source in self.sources for _, event in source.messages]
        if self.doubles:
            events = list(dict.fromkeys(events))
        events, _ = made(self.common, events)
        for branch in self.branches:
            reached, _ = made(branch.steps, events)
            keyed = branch.by_key or branch.expected is _each
            wanted = branch.expected(reached if keyed else [each._replace(key="") for each in reached])
            wanted = wanted if keyed else [row._replace(key=None) for row in wanted]
            wanted = [row for row in wanted if not branch.poisoned(row) and row.end < END]
            found = branch.rows
            if branch.expected is _sums:
                newest = {row.key if branch.by_key else None: row for row in sorted(found, key=lambda row: row.count)}
                found = [row if branch.by_key else row._replace(key=None) for row in newest.values()]
            if set(found) != set(wanted):
                extra, lost = set(found) - set(wanted), set(wanted) - set(found)
                raise Violation(f"{branch.label} ({branch.kind}) gave {extra} and not {lost}")


def _number(event: Event) -> int:
    return event.n


def _fails(work: Callable[[Event], Event], event: Event) -> bool:
    try:
        work(event)
    except ValueError:
        return True
    return False


def _refuse(row: Row) -> Row:
    raise ValueError("no such window")


def _row(held: Window[Any, Event]) -> Row:
    ns = tuple(sorted(event.n for event in held.values))
    return Row(held.key, held.start, held.end, len(ns), sum(event.amount for event in held.values), ns)


def _add(state: Row, event: Event) -> Row:
    # Which key it is of says the first event.
    ns = tuple(sorted((*state.ns, event.n)))
    return Row(event.key, 0.0, 0.0, state.count + 1, state.sum + event.amount, ns)


def _alone(event: Event) -> Row:
    return Row(event.key, 0.0, 0.0, 1, event.amount, (event.n,))


FIGURES = (
    pl.len().cast(pl.Int64).alias("count"),
    pl.col("amount").sum().alias("sum"),
    pl.col("n").sort().alias("ns"),
)


def _rows(frame: pl.DataFrame) -> list[Row]:
    return [Row(*row[:5], tuple(row[5])) for row in frame.select("key", "start", "end", "count", "sum", "ns").rows()]


def _frame(events: list[Event]) -> pl.DataFrame:
    schema = {"n": pl.Int64, "key": pl.String, "time": pl.Float64, "amount": pl.Int64}
    return pl.DataFrame(events, schema=schema, orient="row")


def _windows(size: float, every: float) -> Callable[[list[Event]], list[Row]]:
    def expected(events: list[Event]) -> list[Row]:
        last = pl.col("time") // every
        first = (pl.col("time") - size) // every + 1
        frame = _frame(events).with_columns(
            place=pl.int_ranges(first.cast(pl.Int64), last.cast(pl.Int64) + 1),
        )
        frame = frame.explode("place").with_columns(start=pl.col("place") * float(every))
        frame = frame.with_columns(end=pl.col("start") + size)
        return _rows(frame.group_by("key", "start", "end").agg(*FIGURES))

    return expected


def _sessions(gap: float) -> Callable[[list[Event]], list[Row]]:
    def expected(events: list[Event]) -> list[Row]:
        pause = pl.col("time").diff().fill_null(0.0).over("key")
        frame = _frame(events).sort("key", "time").with_columns(number=(pause >= gap).cum_sum().over("key"))
        span = pl.col("time").min().alias("start"), (pl.col("time").max() + gap).alias("end")
        return _rows(frame.group_by("key", "number").agg(*span, *FIGURES))

    return expected


def _sums(events: list[Event]) -> list[Row]:
    frame = _frame(events).with_columns(start=pl.lit(0.0), end=pl.lit(0.0))
    return _rows(frame.group_by("key", "start", "end").agg(*FIGURES))


def _each(events: list[Event]) -> list[Row]:
    frame = _frame(events).with_columns(start=pl.lit(0.0), end=pl.lit(0.0)).unique(["n"])
    return _rows(frame.group_by("key", "start", "end", "n").agg(*FIGURES[:2], pl.col("n").alias("ns")).sort("n"))


def check(draw: random.Random) -> None:
    """Tell one random story; raises `Violation` where a promise is broken."""
    Story(draw).live()
