"""Random graphs under random faults, and the bookkeeping that says whether a message may be acknowledged.

Each value is an `Item` that carries its leaves: what has become of which source message, as ``(origin, step, copy, ...)``.
Handlers and sinks tell the `Book` what happens to a leaf, so it knows at any time what is still owed for an origin: a leaf
is paid for when a sink confirms it, when a filter drops it, or, if it failed last, by a dead letter of its origin.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from tests.pipelines.world import Queue, Recorded, Violation, virtually
from warren.core.errors import ConnectorError, PartialWriteError, ShutdownError
from warren.core.graph import Operator, Sink, Source
from warren.core.message import Outgoing
from warren.operators.aggregate import aggregate
from warren.operators.aggregations import count, custom
from warren.operators.backoff import constant
from warren.operators.batch import batch
from warren.operators.bisect import bisect
from warren.operators.broadcast import broadcast
from warren.operators.budget import budget
from warren.operators.circuit_breaker import circuit_breaker
from warren.operators.columns import columns
from warren.operators.dead_letter import dead_letter
from warren.operators.debounce import debounce
from warren.operators.deduplicate import deduplicate
from warren.operators.delay import delay
from warren.operators.discard import discard
from warren.operators.distinct import distinct
from warren.operators.distinct_until_changed import distinct_until_changed
from warren.operators.encode import encode
from warren.operators.enrich import enrich
from warren.operators.explode import explode
from warren.operators.fallback import fallback
from warren.operators.filter import filter
from warren.operators.flat_map import flat_map
from warren.operators.for_each import for_each
from warren.operators.frames import frames
from warren.operators.join import Pair, join
from warren.operators.map import map
from warren.operators.retry import retry
from warren.operators.route import route
from warren.operators.sample import sample
from warren.operators.scan import scan
from warren.operators.split import split
from warren.operators.tap import tap
from warren.operators.throttle import throttle
from warren.operators.timeout import timeout
from warren.operators.validate import validate
from warren.operators.window import hopping, session, tumbling, window
from warren.pipelines.pipeline import Pipeline

__all__ = ["check"]

Leaf = tuple[int, ...]
OTHERS = 1000
"""The messages of a second source are numbered from here."""


@dataclass(frozen=True)
class Item:
    leaves: tuple[Leaf, ...]


def _leaves(item: Item) -> tuple[Leaf, ...]:
    return item.leaves


@dataclass
class Book:
    """What is owed for each origin, and which of it failed last."""

    owed: dict[int, set[Leaf]] = field(default_factory=dict)
    failed: set[Leaf] = field(default_factory=set)
    lettered: set[int] = field(default_factory=set)
    acknowledged: set[int] = field(default_factory=set)
    once: bool = False
    """Whether some step drops a value that had its effect when its message came before."""
    paid: set[Leaf] = field(default_factory=set)
    made: dict[Leaf, set[Leaf]] = field(default_factory=dict)

    def had(self, leaf: Leaf) -> bool:
        """Whether a leaf, or all that was made of it, had its effect at some time."""
        return self.once and (leaf in self.paid or (leaf in self.made and all(self.had(each) for each in self.made[leaf])))

    def receive(self, origins: Iterable[int]) -> None:
        for origin in origins:
            if origin in self.acknowledged:
                raise Violation(f"{origin} came again after it was acknowledged")
            self.owed[origin] = {(origin,)}
            self.failed = {leaf for leaf in self.failed if leaf[0] != origin}
            self.lettered.discard(origin)

    def pay(self, items: Iterable[Item]) -> None:
        for item in items:
            for leaf in item.leaves:
                self.owed[leaf[0]].discard(leaf)
            self.paid.update(item.leaves)

    def fail(self, item: Item) -> None:
        self.failed.update(item.leaves)

    def try_again(self, item: Item) -> None:
        self.failed.difference_update(item.leaves)

    def replace(self, item: Item, copies: Sequence[Item]) -> None:
        for leaf in item.leaves:
            self.owed[leaf[0]].discard(leaf)
            self.made[leaf] = {each for copy in copies for each in copy.leaves if each[: len(leaf)] == leaf}
        for copy in copies:
            for leaf in copy.leaves:
                self.owed[leaf[0]].add(leaf)

    def letter(self, queue: str, origin: int) -> None:
        self.lettered.add(origin)

    def settle(self, origins: Iterable[int], *, parked: bool = False) -> None:
        for origin in origins:
            unpaid = {leaf for leaf in self.owed[origin] if not self.had(leaf)}
            if working := unpaid - self.failed:
                raise Violation(f"{origin} was settled while {sorted(working)} had no effect yet")
            if unpaid and not parked and origin not in self.lettered:
                raise Violation(f"{origin} was acknowledged without a dead letter for {sorted(unpaid)}")

    def acknowledge(self, origins: Sequence[int]) -> None:
        self.settle(origins)
        self.acknowledged.update(origins)


def parity(item: Item) -> int:
    return item.leaves[0][0] % 2


class Story:
    """One random graph, its faults, and a run of it."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.book = Book()
        self.steps = 0
        self.faults = True
        self.sinks: list[Recorded] = []
        # Where windows overlap, the same leaves come twice, and the book cannot tell which of the two is dropped.
        self.overlaps = draw.random() < 0.5
        self.handler_rate = draw.choice([0.0, 0.1, 0.4])
        self.crash_rate = draw.choice([0.0, 0.0, 0.05, 0.2])
        self.refuse_rate = draw.choice([0.0, 0.2])
        # As overlapping windows, the pairs of a join have leaves that come several times.
        self.queues = [self.queue(first) for first in ([0, OTHERS] if self.overlaps and draw.random() < 0.4 else [0])]

    def chance(self, rate: float) -> bool:
        return self.faults and self.draw.random() < rate

    # The ends

    def queue(self, first: int) -> Queue:
        """A source whose messages are numbered from there."""

        def numbered(origins: Iterable[int]) -> list[int]:
            return [first + origin for origin in origins]

        async def hook(what: str, origins: Sequence[int]) -> None:
            await self.source_hook(what, numbered(origins), queue)

        queue = Queue(range(self.draw.randint(1, 40)), hook=hook, chunk=self.draw.choice([1, 3, 1024]))
        queue.values = [Item(((first + i,),)) for i in queue.values]
        queue.on_receive = lambda origins: self.book.receive(numbered(origins))
        queue.on_release = lambda origins, delay: self.book.settle(numbered(origins), parked=True) if delay else None
        queue.on_letter = lambda name, origin: self.book.letter(name, first + origin)
        return queue

    async def source_hook(self, what: str, origins: Sequence[int], queue: Queue) -> None:
        if what == "receive" and queue.ready:
            await asyncio.sleep(self.draw.choice([0, 0, 0.3]))
        elif what == "acknowledge":
            await asyncio.sleep(self.draw.choice([0, 0.2]))
            if self.chance(self.crash_rate):
                raise ConnectorError("the source is gone")
            self.book.acknowledge(origins)
        elif what == "dead":
            await asyncio.sleep(self.draw.choice([0, 0.5]))
            if self.chance(self.crash_rate):
                raise ConnectorError("the dead letters are gone")
        elif self.chance(self.crash_rate / 4):
            raise ConnectorError(f"the source is gone at {what}")

    async def write(self, what: str, values: Sequence[Item]) -> None:
        if what != "write":
            return
        values = Outgoing(values).originals()
        await asyncio.sleep(self.draw.choice([0, 0.1, 1.0]))
        if self.chance(self.crash_rate):
            self.book.pay(values[: len(values) // 2])
            raise ConnectorError("the sink is gone")
        refused = {i: ValueError("refused") for i in range(len(values)) if self.chance(self.refuse_rate)}
        self.book.pay(value for i, value in enumerate(values) if i not in refused)
        for i in refused:
            self.book.fail(values[i])
        if refused:
            raise PartialWriteError(refused)

    def sink(self) -> Recorded:
        if self.sinks and self.draw.random() < 0.2:
            return self.draw.choice(self.sinks)
        self.sinks.append(Recorded(f"out{len(self.sinks)}", hook=self.write))
        return self.sinks[-1]

    # The graph

    def chain(self, depth: int) -> Operator[Any, Any] | None:
        """One to four operators, or nothing."""
        whole: Operator[Any, Any] | None = None
        steps = [self.step(depth) for _ in range(self.draw.randint(0, 4))]
        if self.draw.random() < 0.1:
            # Parts of one message that end differently are too rare to be left to chance.
            steps += [self.some_flat_map(depth), self.some_map(depth), retry(constant(5.0, attempts=2), park=1.0)]
        if not self.overlaps and self.draw.random() < 0.15:
            # So is a parked message that comes again to a step that knows it.
            knows = self.draw.choice([self.some_deduplicate, self.some_distinct])
            steps += [knows(depth), self.some_map(depth), retry(constant(5.0, attempts=3), park=1.0)]
        for step in steps:
            whole = step if whole is None else whole | step
        return whole

    def branch(self, depth: int) -> Sink[Any]:
        """Operators and a sink."""
        steps, end = self.chain(depth), self.end(depth)
        return end if steps is None else steps | end

    def end(self, depth: int) -> Sink[Any]:
        kind = self.draw.choice(["sink", "sink", "route", "discard"]) if depth else "sink"
        if kind == "route":
            return self.route({str(i): self.branch(depth - 1) for i in range(self.draw.randint(1, 3))})  # type: ignore[return-value]
        if kind == "discard":
            return map(self.handler(self.paid)) | discard()
        return encode("application/json") | self.sink() if self.draw.random() < 0.1 else self.sink()

    def paid(self, item: Item) -> Item:
        self.book.pay([item])
        return item

    def route(self, branches: dict[str, Any]) -> Operator[Any, Any] | Sink[Any]:
        labels = [*branches, "dead"]

        def choose(item: Item) -> str:
            label = self.draw.choice(labels)
            if label == "dead":
                self.book.fail(item)
            return label

        return route(self.handler(choose), {**branches, "dead": dead_letter("rejected")})

    def step(self, depth: int) -> Operator[Any, Any]:
        self.steps += 1
        kinds = [
            "map",
            "async",
            "filter",
            "flat_map",
            "for_each",
            "batch",
            "window",
            "retry",
            "dead_letter",
            "throttle",
            "newest",
            "delay",
            "fallback",
            "circuit_breaker",
            "timeout",
            *["deduplicate", "distinct"] * (not self.overlaps),
            "scan",
            "enrich",
            "tap",
            "validate",
            "rows",
            *["route", "split", "broadcast"] * bool(depth),
        ]
        return getattr(self, f"some_{self.draw.choice(kinds)}")(depth)  # type: ignore[no-any-return]  # the methods below

    def handler(self, work: Callable[[Item], Any]) -> Callable[[Item], Any]:
        """A handler that fails now and then, before it has done anything."""

        def handle(item: Item) -> Any:
            self.book.try_again(item)
            if self.chance(self.handler_rate):
                self.book.fail(item)
                raise self.draw.choice([ValueError, ConnectionError])("not now")
            return work(item)

        return handle

    def some_map(self, depth: int) -> Operator[Any, Any]:
        return map(self.handler(lambda item: item))

    def some_async(self, depth: int) -> Operator[Any, Any]:
        work = self.handler(lambda item: item)
        limit = self.draw.choice([None, 2.0])

        async def handle(item: Item) -> Item:
            self.book.try_again(item)
            wait = self.draw.choice([0.0, 0.01, 1.0])
            if limit is not None and self.chance(0.1):
                self.book.fail(item)
                wait = 1000.0
            await asyncio.sleep(wait)
            answer: Item = work(item)
            return answer

        concurrency, ordered = self.draw.choice([1, 2, 16]), self.draw.random() < 0.5
        turns: list[dict[str, Any]] = [{}, {}, {"order_by": parity}, {"limit_by": parity, "limit": 1}, {"priority": parity}]
        return map(handle, concurrency=concurrency, ordered=ordered, timeout=limit, **self.draw.choice(turns))

    def some_filter(self, depth: int) -> Operator[Any, Any]:
        def keep(item: Item) -> bool:
            kept = self.draw.random() < 0.7
            if not kept:
                self.book.pay([item])
            return kept

        return filter(self.handler(keep))

    def some_flat_map(self, depth: int) -> Operator[Any, Any]:
        number = self.steps

        def copies(item: Item) -> list[Item]:
            count = self.draw.choice([0, 1, 2, 3])
            made = [Item(tuple((*leaf, number, i) for leaf in item.leaves)) for i in range(count)]
            self.book.replace(item, made)
            return made

        return flat_map(self.handler(copies))

    def some_for_each(self, depth: int) -> Operator[Any, Any]:
        number = self.steps

        def rows(item: Item) -> list[Item]:
            count = self.draw.choice([1, 2, 3])
            made = [Item(tuple((*leaf, number, i) for leaf in item.leaves)) for i in range(count)]
            self.book.replace(item, made)
            return made

        def mark(item: Item) -> Item:
            # Where another row of its message is parked it is dropped, as it comes again.
            self.book.fail(item)
            return item

        def whole(items: list[Item]) -> Item:
            made = Item(tuple(leaf for item in items for leaf in item.leaves))
            self.book.try_again(made)
            return made

        inner = self.draw.choice([self.some_map, self.some_async, self.some_filter])(depth)
        if self.draw.random() < 0.5:
            inner = inner | retry(constant(self.draw.choice([0.2, 5.0]), attempts=2), park=1.0)
        return map(self.handler(rows)) | for_each(inner | map(mark)) | map(whole)

    def some_batch(self, depth: int) -> Operator[Any, Any]:
        count = self.draw.choice([None, 1, 2, 5])
        timeout = self.draw.choice([None, 0.05, 3.0]) if count else 0.5
        size = self.draw.choice([None, None, 3])
        by = self.draw.choice([None, None, lambda item: item.leaves[0][0] % 2])
        whole = batch(count, timeout, size=size, measure=lambda item: 1, by=by)
        return whole | map(lambda items: Item(tuple(leaf for item in items for leaf in item.leaves)))

    def some_window(self, depth: int) -> Operator[Any, Any]:
        kinds = [tumbling("3s"), session("1s"), *[hopping("4s", "2s")] * self.overlaps]
        kind = self.draw.choice(kinds)
        by = self.draw.choice([None, lambda item: item.leaves[0][0] % 2])
        timed: dict[str, Any] = {"time": lambda item: item.leaves[0][0], "idle": "2s"}
        # Values fail late unless they are waited for or have a branch of their own, and the book is told of failures before.
        ends = [{}, {**timed, "lateness": "1h"}, *[{**timed, "late": None}] * (depth > 0)]
        options = self.draw.choice(ends)
        if not options and self.draw.random() < 0.3:
            kind = count(self.draw.choice([1, 2, 5]))
        if "late" in options:
            options["late"] = self.branch(depth - 1)
        whole = window(kind, by=by, **options)
        if self.draw.random() < 0.3:
            # The window keeps what comes of its values in place of these.
            leaves = custom((), lambda leaves, item: leaves + item.leaves, lambda a, b: a + b)
            return whole | aggregate(leaves=leaves) | map(lambda row: Item(tuple(dict.fromkeys(row["leaves"]))))
        return whole | map(lambda held: Item(tuple({leaf: 0 for item in held.values for leaf in item.leaves})))

    def some_retry(self, depth: int) -> Operator[Any, Any]:
        delay, park = self.draw.choice([0.0, 0.2, 5.0]), self.draw.choice([1.0, 10.0])
        kinds = self.draw.choice([Exception, ConnectionError])
        limit = self.draw.choice([None, None, budget(0.2, minimum=1)])
        return retry(constant(delay, attempts=self.draw.choice([1, 2, 4])), on=kinds, park=park, budget=limit)

    def some_dead_letter(self, depth: int) -> Operator[Any, Any]:
        return dead_letter("chosen", on=self.draw.choice([Exception, ConnectionError]))

    def some_throttle(self, depth: int) -> Operator[Any, Any]:
        return throttle(self.draw.choice([1, 10]), per=self.draw.choice([0.1, 1.0]))

    def some_newest(self, depth: int) -> Operator[Any, Any]:
        # What another value replaces would have to be paid for unseen, so each is of a key of its own.
        step = self.draw.choice([debounce, sample])
        whole: Operator[Any, Any] = step(self.draw.choice([0.05, 3.0]), by=lambda item: item.leaves)
        return whole

    def some_delay(self, depth: int) -> Operator[Any, Any]:
        return delay(self.draw.choice([0.0, 0.1, 2.0, lambda item: parity(item) * 0.7]))

    def some_fallback(self, depth: int) -> Operator[Any, Any]:
        return fallback(lambda item, error: self.handler(lambda item: item)(item))

    def marked(self, step: Operator[Any, Any]) -> Operator[Any, Any]:
        """A step that may fail values without asking a handler: they count as failed until they are out of it."""

        def mark(item: Item) -> Item:
            self.book.fail(item)
            return item

        def clear(item: Item) -> Item:
            self.book.try_again(item)
            return item

        return map(mark) | step | map(clear)

    def some_circuit_breaker(self, depth: int) -> Operator[Any, Any]:
        step = self.draw.choice([self.some_map, self.some_async])(depth)
        return self.marked(circuit_breaker(step, failures=self.draw.choice([1, 2]), cooldown=self.draw.choice([0.1, 5.0])))

    def some_timeout(self, depth: int) -> Operator[Any, Any]:
        async def nap(item: Item) -> Item:
            await asyncio.sleep(self.draw.choice([0.0, 0.0, 1.0, 5.0]))
            return item

        inside = self.draw.choice([map(nap), map(nap) | delay(0.2), map(nap, concurrency=1, ordered=False)])
        return self.marked(timeout(inside, self.draw.choice([0.5, 3.0])))

    def some_broadcast(self, depth: int) -> Operator[Any, Any]:
        number = self.steps

        def copy(item: Item, branch: int) -> Item:
            return Item(tuple((*leaf, number, branch) for leaf in item.leaves))

        def both(item: Item) -> Item:
            self.book.replace(item, [copy(item, 0), copy(item, 1)])
            return item

        first = map(lambda item: copy(item, 0)) | self.step(depth - 1)
        second = map(lambda item: copy(item, 1))
        end = self.branch(depth - 1) if self.draw.random() < 0.5 else self.step(depth - 1)
        steps: Operator[Any, Any] = map(self.handler(both)) | broadcast(a=first, b=second | end)
        return steps

    def some_deduplicate(self, depth: int) -> Operator[Any, Any]:
        # Only what comes again has the key of another, so nothing may be dropped that had no effect.
        self.book.once = True
        within, patience = self.draw.choice(["1s", "1h"]), self.draw.choice(["1s", "1m"])
        limit = self.draw.choice([1, None])
        if self.draw.random() < 0.3:
            return distinct(_leaves, limit=limit, patience=patience)
        return deduplicate(_leaves, within, patience=patience, limit=limit)

    def some_distinct(self, depth: int) -> Operator[Any, Any]:
        by = self.draw.choice([None, lambda item: item.leaves[0][0]])
        return distinct_until_changed(_leaves, by=by)

    def some_scan(self, depth: int) -> Operator[Any, Any]:
        by = self.draw.choice([None, lambda item: item.leaves[0][0] % 2])
        work = self.handler(lambda item: item)
        return scan(lambda state, item: work(item), None, by=by)

    def some_tap(self, depth: int) -> Operator[Any, Any]:
        return tap(self.handler(lambda item: None))

    def some_validate(self, depth: int) -> Operator[Any, Any]:
        return validate(self.handler(lambda item: None))

    def some_rows(self, depth: int) -> Operator[Any, Any]:
        items: list[Item] = []
        bad: set[int] = set()

        def row(item: Item) -> dict[str, int]:
            items.append(item)
            if self.chance(self.handler_rate):
                bad.add(len(items) - 1)
            return {"place": len(items) - 1}

        def check(frame: pl.DataFrame) -> pl.DataFrame:
            if found := [place for place in frame["place"] if place in bad]:
                if len(frame) == 1:
                    self.book.fail(items[found[0]])
                raise ValueError("a bad row")
            return frame

        whole = map(row) | frames(self.draw.choice([1, 2, 5]), self.draw.choice([0.05, 3.0])) | bisect(check)
        if self.draw.random() < 0.5:
            whole = whole | columns((pl.col("place") / 2).alias("half"))
        return whole | explode() | map(lambda row: items[row["place"]])

    def some_split(self, depth: int) -> Operator[Any, Any]:
        other = self.branch(depth - 1) if self.draw.random() < 0.5 else self.some_map(depth) | self.step(depth - 1)
        return split(self.handler(parity), self.some_map(depth), other)

    def some_enrich(self, depth: int) -> Operator[Any, Any]:
        async def lookup(items: list[Item]) -> list[int | None]:
            for item in items:
                self.book.try_again(item)
            await asyncio.sleep(self.draw.choice([0.0, 0.01, 1.0]))
            if self.chance(self.handler_rate):
                for item in items:
                    self.book.fail(item)
                raise ConnectionError("not now")
            found: list[int | None] = [None if self.chance(0.1) else 1 for item in items]
            for item, each in zip(items, found, strict=True):
                if each is None:
                    self.book.fail(item)
            return found

        work = self.handler(lambda item: item)
        return enrich(
            lookup,
            key=lambda item: item,
            into=lambda item, found: work(item),
            batch=self.draw.choice([1, 3, 100]),
            within=self.draw.choice([0, 0, 2.0]),
            concurrency=self.draw.choice([1, 3]),
            cache=self.draw.choice([0, 2, 100]),
        )

    def some_route(self, depth: int) -> Operator[Any, Any]:
        branches: dict[str, Any] = {"open": self.some_map(depth) | self.step(depth - 1)}
        if self.draw.random() < 0.5:
            branches["closed"] = self.branch(depth - 1)
        return self.route(branches)  # type: ignore[return-value]  # with an open branch it is an operator

    def source(self) -> Source[Any]:
        if len(self.queues) == 1:
            return self.queues[0]
        pairs = 0

        def whole(pair: Pair[Any, Item, Item]) -> Item:
            nonlocal pairs
            found = [item for item in (pair.left, pair.right) if item is not None]
            if len(found) == 1:
                return found[0]
            pairs += 1
            copies = [Item(tuple((*leaf, -1, pairs) for leaf in item.leaves)) for item in found]
            for item, copy in zip(found, copies, strict=True):
                self.book.replace(item, [copy])
            return Item(tuple(leaf for copy in copies for leaf in copy.leaves))

        def time(item: Item) -> float:
            return item.leaves[0][0] % OTHERS

        left, right = self.queues[0], self.queues[1] | self.some_async(0)
        on = self.handler(parity) if self.draw.random() < 0.3 else parity
        timed = {"time": time, "lateness": "1h", "idle": "2s"}
        if self.draw.random() < 0.3:
            # What comes too late ends as one that has no partner would.
            timed |= {"lateness": 0, "late": self.branch(1)}
        options = {} if self.draw.random() < 0.3 else timed
        return join(left, right, on=on, within=3, how="outer", **options) | map(whole)  # type: ignore[call-overload,no-any-return]

    # The run

    def pipeline(self) -> Pipeline:
        source, steps, end = self.source(), self.chain(2), self.end(2)
        flow = source | end if steps is None else source | steps | end
        return Pipeline("story", flow, shutdown=100)

    async def attempt(self, pipeline: Pipeline) -> None:
        """Run once with faults, and perhaps stop or abandon the run in the middle."""
        running = pipeline.start(clock=asyncio.get_running_loop().time)
        interrupt = self.draw.choice(["", "", "stop", "cancel", "stop, cancel"])
        for what in interrupt.split(", ") if interrupt else ():
            await asyncio.wait((running._task,), timeout=self.draw.choice([0.0, 0.1, 1.1, 7.0]))
            running.stop() if what == "stop" else running._task.cancel()
        try:
            await running
        except (ConnectorError, ShutdownError):
            pass
        except asyncio.CancelledError:
            if "cancel" not in interrupt:
                raise

    async def live(self) -> None:
        pipeline = self.pipeline()
        for _ in range(self.draw.randint(0, 3)):
            await self.attempt(pipeline)
        self.faults = False
        await pipeline.start(clock=asyncio.get_running_loop().time)
        for queue in self.queues:
            if sorted(queue.acknowledged) != list(range(len(queue.values))):
                raise Violation(f"acknowledged {queue.acknowledged} of {len(queue.values)} messages")
            if queue.opened != queue.closed:
                raise Violation("a source was left open")


def check(draw: random.Random) -> None:
    """Tell one random story; raises `Violation` where a promise is broken."""
    virtually(Story(draw).live)
