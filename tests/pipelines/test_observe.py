from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import operators as ops

from warren import observe
from warren.connectors import memory
from warren.core.errors import ConnectorError, GraphError, ShutdownError
from warren.core.graph import Inlet, Source
from warren.core.message import Outgoing
from warren.operators import batch, constant, discard, filter, flat_map, map, retry
from warren.pipelines import Handed
from warren.pipelines.virtual import VirtualLoop


class Log:
    """An observer that writes down what it is told, and when."""

    def __init__(self) -> None:
        self.events: list[tuple[float, str, Any]] = []
        self.ended = asyncio.Event()

    def note(self, kind: str, value: Any = None) -> None:
        self.events.append((round(asyncio.get_running_loop().time(), 3), kind, value))
        if kind != "next":
            self.ended.set()

    def on_next(self, value: Any) -> None:
        self.note("next", value)

    def on_error(self, error: Exception) -> None:
        self.note("error", error)

    def on_completed(self) -> None:
        self.note("completed")

    @property
    def values(self) -> list[Any]:
        return [value for _, kind, value in self.events if kind == "next"]

    @property
    def kinds(self) -> list[str]:
        return [kind for _, kind, _ in self.events]


class World:
    """A queue with messages, a dead-letter queue, and what became of both."""

    def __init__(self, *values: Any) -> None:
        self.broker = memory.Broker()
        self.values = values
        self.complaints: list[dict[str, Any]] = []

    async def fill(self) -> None:
        connection = await memory.queue("q", broker=self.broker).open()
        await connection.write(Outgoing(self.values))
        await connection.close()

    def queue(self) -> memory.Queue[Any]:
        return memory.queue("q", int, broker=self.broker)

    def run(self, main: Callable[[], Awaitable[None]]) -> World:
        async def filled() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: self.complaints.append(context))
            await self.fill()
            await main()

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(filled())
        return self

    @property
    def left(self) -> list[int]:
        return [int(body) for body in self.broker.peek("q").bodies]

    @property
    def dead(self) -> list[tuple[int, str]]:
        letters = self.broker.peek("p.dead")
        reasons = [letters.metadata(i).headers["warren-reason"] for i in range(len(letters))]
        return [(int(body), reason) for body, reason in zip(letters.bodies, reasons, strict=True)]


async def quiet(times: int = 50) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


def watched(stream: Source[Any], **options: Any) -> Log:
    logs = []

    async def main() -> None:
        log = Log()
        logs.append(log)
        observe("p", stream, **options).subscribe(log)
        await log.ended.wait()

    World().run(main)
    return logs[0]


def test_empty_completes() -> None:
    assert watched(memory.items([])).kinds == ["completed"]


def test_a_single_value_then_the_end() -> None:
    log = watched(memory.items([7]))
    assert (log.values, log.kinds) == ([7], ["next", "completed"])


@given(st.lists(st.integers(-3, 3), max_size=30), st.integers(1, 4))
def test_many_values_come_in_order_and_once(values: list[int], size: int) -> None:
    log = watched(memory.items(values) | filter(lambda x: x) | flat_map(lambda x: [x, -x]) | batch(size))
    plain = [y for x in values if x for y in (x, -x)]
    assert [y for part in log.values for y in part] == plain
    assert log.kinds[-1] == "completed" and log.kinds.count("completed") == 1


def test_never_gives_nothing_until_it_is_disposed() -> None:
    log: list[Log] = []

    async def main() -> None:
        log.append(Log())
        subscription = observe("p", world.queue()).subscribe(log[0])
        await asyncio.sleep(3600)
        subscription.dispose()
        await asyncio.sleep(3600)

    world = World()
    world.run(main)
    assert (log[0].events, world.complaints) == ([], [])


def test_what_stops_the_pipeline_is_the_error() -> None:
    class Gone(Inlet[Any]):
        async def open(self, *, until_empty: bool = False) -> Any:
            raise ConnectorError("the broker is away")

    log = watched(Gone())
    assert log.kinds == ["error"]
    assert str(log.events[0][2]) == "the broker is away"


def test_values_come_in_their_time() -> None:
    async def late(value: int) -> int:
        await asyncio.sleep(value)
        return value

    log = watched(memory.items([3, 1, 1, 60]) | map(late, ordered=False))
    assert log.events == [(1, "next", 1), (1, "next", 1), (3, "next", 3), (60, "next", 60), (60, "completed", None)]


def test_each_subscription_runs_it_anew() -> None:
    async def main() -> None:
        both = [Log(), Log()]
        squares = observe("p", memory.items(range(3)) | map(lambda x: x * x))
        squares.subscribe(both[0])
        await both[0].ended.wait()
        squares.subscribe(both[1])
        squares.subscribe(both[1])
        await asyncio.sleep(1)
        assert both[0].values == [0, 1, 4]
        assert sorted(both[1].values) == [0, 0, 1, 1, 4, 4]

    World().run(main)


def test_a_value_is_acknowledged_when_on_next_has_returned_and_an_exception_is_its_failure() -> None:
    seen: list[tuple[int, list[int]]] = []

    async def main() -> None:
        ended = asyncio.Event()

        def on_next(value: int) -> None:
            if value == 2:
                raise ValueError("not two")
            seen.append((value, world.left))

        observe("p", world.queue() | batch(1) | map(lambda one: one[0]), credit=1, until_empty=True).subscribe(
            on_next, on_completed=ended.set
        )
        await ended.wait()

    world = World(1, 2, 3)
    world.run(main)
    assert [value for value, _ in seen] == [1, 3]
    assert (world.left, world.dead) == ([], [(2, "not two")])


def test_a_failure_on_the_way_is_a_dead_letter_and_a_retry_works() -> None:
    tries = iter([ConnectionError("busy"), ZeroDivisionError("never"), None])

    def ask(value: int) -> int:
        if (error := next(tries)) is not None:
            raise error
        return value

    async def main() -> None:
        log = Log()
        stream = world.queue() | map(ask) | retry(constant("1m", attempts=3), on=ConnectionError)
        observe("p", stream, until_empty=True, dead_letters="p.dead").subscribe(log)
        await log.ended.wait()
        assert (log.values, log.kinds) == ([1], ["next", "completed"])

    world = World(1, 2)
    world.run(main)
    assert (world.left, world.dead) == ([], [(2, "never")])


def test_of_a_batch_that_its_observer_refuses_every_message_is_a_dead_letter() -> None:
    def refuse(values: list[int]) -> None:
        raise ValueError("no")

    async def main() -> None:
        ended = asyncio.Event()
        observe("p", world.queue() | batch(2), until_empty=True).subscribe(refuse, on_completed=ended.set)
        await ended.wait()

    world = World(1, 2, 3)
    world.run(main)
    assert world.dead == [(1, "no"), (2, "no"), (3, "no")]


@pytest.mark.parametrize("count", [1, 3])
def test_disposed_early_the_rest_goes_back(count: int) -> None:
    async def main() -> None:
        log = Log()
        observe("p", world.queue() | map(lambda x: x * 10)).pipe(ops.take(count)).subscribe(log)
        await log.ended.wait()
        await quiet()
        assert log.values == [10, 20, 30][:count]

    world = World(1, 2, 3, 4, 5)
    world.run(main)
    assert (world.left, world.dead, world.complaints) == ([1, 2, 3, 4, 5][count:], [], [])


def test_disposed_before_anything_came_everything_stays() -> None:
    async def main() -> None:
        log = Log()
        observe("p", world.queue()).subscribe(log).dispose()
        await asyncio.sleep(5)
        assert log.events == []

    world = World(1, 2)
    world.run(main)
    assert world.left == [1, 2]


def test_what_steps_hold_when_it_is_disposed_goes_back() -> None:
    async def slow(value: int) -> int:
        await asyncio.sleep(value)
        return value

    async def main() -> None:
        log = Log()
        subscription = observe("p", world.queue() | map(slow, concurrency=2) | batch(2, "1h")).subscribe(log)
        await asyncio.sleep(3.5)
        assert log.values == [[1, 2]]
        subscription.dispose()
        await asyncio.sleep(20)
        assert log.kinds == ["next"]

    world = World(1, 2, 3, 4, 5)
    world.run(main)
    assert (world.left, world.dead, world.complaints) == ([3, 4, 5], [], [])


def test_an_error_in_an_operator_behind_it_is_its_messages_failure_and_ends_the_subscription() -> None:
    async def main() -> None:
        log = Log()
        observe("p", world.queue()).pipe(ops.map(lambda x: 6 // x)).subscribe(log)
        await log.ended.wait()
        await quiet()
        assert log.values == [6]
        assert isinstance(log.events[-1][2], ZeroDivisionError)

    world = World(1, 0, 2)
    world.run(main)
    assert world.dead == [(0, "integer division or modulo by zero")]
    assert world.left == [2]


def test_disposing_while_something_else_is_handled_is_no_failure() -> None:
    async def main() -> None:
        log = Log()
        try:
            raise KeyError("elsewhere")
        except KeyError:
            observe("p", world.queue()).pipe(ops.take(1)).subscribe(log)
            await log.ended.wait()
        await quiet()

    world = World(1, 2)
    world.run(main)
    assert (world.left, world.dead) == ([2], [])


def test_confirmed_values_may_be_kept_and_settled_in_any_order() -> None:
    async def main() -> None:
        log = Log()
        flow = observe("p", world.queue(), confirm=True, until_empty=True)
        flow.pipe(ops.buffer_with_count(2)).subscribe(log)
        await quiet()
        assert [[each.value for each in pair] for pair in log.values] == [[1, 2], [3, 4]]
        (one, two), (three, four) = log.values
        four.done()
        one.fail(ValueError("odd"))
        one.done()
        await quiet()
        assert log.kinds == ["next", "next"]
        two.done()
        three.done()
        three.fail(ValueError("too late"))
        await log.ended.wait()
        assert repr(two) == "Handed(2)"

    world = World(1, 2, 3, 4)
    world.run(main)
    assert (world.left, world.dead) == ([], [(1, "odd")])


def test_a_slow_consumer_has_as_many_open_as_the_credit() -> None:
    async def main() -> None:
        log, most = Log(), 0
        waiting: list[Handed[int]] = []

        def on_next(handed: Handed[int]) -> None:
            nonlocal most
            waiting.append(handed)
            most = max(most, len(waiting))

        async def work() -> None:
            while not log.ended.is_set():
                await asyncio.sleep(60)
                if waiting:
                    waiting.pop(0).done()

        flow = observe("p", memory.items(range(20)), confirm=True, credit=3)
        flow.subscribe(on_next, log.on_error, log.on_completed)
        await asyncio.gather(work(), log.ended.wait())
        assert (most, log.kinds) == (3, ["completed"])
        assert asyncio.get_running_loop().time() >= 1200

    World().run(main)


def test_what_is_in_hand_when_it_is_disposed_can_be_confirmed_until_the_deadline() -> None:
    async def main() -> None:
        hands: list[Handed[int]] = []
        flow = observe("p", world.queue(), confirm=True, shutdown="10s")
        subscription = flow.subscribe(hands.append)
        await quiet()
        subscription.dispose()
        await asyncio.sleep(5)
        hands[1].done()
        await asyncio.sleep(6)
        hands[0].done()

    world = World(1, 2, 3)
    world.run(main)
    assert world.left == [1, 3]
    (complaint,) = world.complaints
    assert complaint["message"] == "pipeline 'p' failed after its observer was disposed"
    assert isinstance(complaint["exception"], ShutdownError)


def test_a_confirmed_value_whose_observer_raises_is_a_failure() -> None:
    def refuse(handed: Handed[int]) -> None:
        if handed.value == 1:
            raise ValueError("no")
        handed.done()

    async def main() -> None:
        ended = asyncio.Event()
        observe("p", world.queue(), confirm=True, until_empty=True).subscribe(refuse, on_completed=ended.set)
        await ended.wait()

    world = World(1, 2)
    world.run(main)
    assert (world.left, world.dead) == ([], [(1, "no")])


def test_it_may_be_confirmed_and_disposed_in_other_threads() -> None:
    async def main() -> None:
        await world.fill()
        got = asyncio.Event()
        hands: list[Handed[int]] = []

        def on_next(handed: Handed[int]) -> None:
            hands.append(handed)
            if len(hands) == 2:
                got.set()

        subscription = observe("p", world.queue(), confirm=True).subscribe(on_next)
        await got.wait()
        for action in (hands[0].done, lambda: hands[1].fail(ValueError("no")), subscription.dispose):
            thread = threading.Thread(target=action)
            thread.start()
            thread.join()
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()}, timeout=20)
        late.append(hands[0])

    world, late = World(1, 2), list[Handed[int]]()
    asyncio.run(main())
    assert (world.left, world.dead) == ([], [(2, "no")])
    threading.Thread(target=late[0].done).start()


def test_when_the_event_loop_is_closed_around_it_everything_goes_back() -> None:
    async def main() -> None:
        await world.fill()
        got = asyncio.Event()
        observe("p", world.queue(), confirm=True).subscribe(lambda handed: got.set())
        await got.wait()

    world = World(1, 2)
    asyncio.run(main())
    assert world.left == [1, 2]


def test_it_goes_into_operators_of_reactivex() -> None:
    async def main() -> None:
        log = Log()
        numbers = observe("p", memory.items(range(4)))
        letters = observe("p", memory.items("ab"))
        reactivex.zip(letters, numbers).pipe(ops.to_list()).subscribe(log)
        await log.ended.wait()
        assert log.values == [[("a", 0), ("b", 1)]]

    World().run(main)


def test_without_an_event_loop_it_says_where_to_subscribe() -> None:
    errors: list[Exception] = []
    flow = observe("p", memory.items([1]) | map(str))
    flow.subscribe(on_error=errors.append)
    assert str(errors[0]) == (
        "observe('p', memory.items | map(str) | observer): subscribe where an event loop runs, such as in an async function"
    )


def test_an_async_observer_is_refused_as_nobody_would_wait_for_it() -> None:
    async def later(value: int) -> None:
        raise NotImplementedError

    class Later(Log):
        async def on_next(self, value: int) -> None:  # type: ignore[override]
            raise NotImplementedError

    async def main() -> None:
        for observer in (later, Later()):
            with pytest.raises(GraphError, match=r"observe\('p', memory:q \| observer\): on_next must not be async"):
                observe("p", world.queue()).subscribe(observer)

    world = World(1)
    world.run(main)
    assert world.left == [1]


@given(
    count=st.integers(0, 12),
    bad=st.sets(st.integers(0, 11)),
    last=st.integers(0, 14),
    credit=st.integers(1, 5),
    confirm=st.booleans(),
    picks=st.lists(st.integers(0, 9), min_size=15, max_size=15),
)
def test_each_message_is_settled_once_whatever_is_raised_confirmed_and_disposed(
    count: int, bad: set[int], last: int, credit: int, confirm: bool, picks: list[int]
) -> None:
    handled: list[int] = []

    async def main() -> None:
        log = Log()
        open_: list[Handed[int]] = []
        subscription: Any = None

        def handle(value: int) -> None:
            if value in bad:
                raise ValueError("bad")
            handled.append(value)

        def on_next(handed: Any) -> None:
            if confirm:
                open_.append(handed)
            else:
                handle(handed)
            if len(handled) + len(open_) == last:
                subscription.dispose()

        flow = observe("p", world.queue(), confirm=confirm, until_empty=True, credit=credit)
        subscription = flow.subscribe(on_next, log.on_error, log.on_completed)
        for pick in picks:
            await asyncio.sleep(1)
            if open_:
                handed = open_.pop(pick % len(open_))
                try:
                    handle(handed.value)
                except ValueError as error:
                    handed.fail(error)
                else:
                    handed.done()
        await asyncio.sleep(60)

    world = World(*range(count))
    world.run(main)
    ends = sorted([*handled, *(value for value, _ in world.dead), *world.left])
    assert ends == list(range(count))
    assert {value for value, _ in world.dead} <= bad
    assert world.complaints == []


def test_it_explains_itself() -> None:
    text = str(observe("p", memory.items([1]) | map(str), dead_letters="bad", credit=5).explain())
    assert "-> observer   [delivered once on_next has returned]" in text
    assert "credit 5 (as given)" in text and "dead letters bad" in text
    assert "[delivered once it is confirmed]" in observe("p", memory.items([1]), confirm=True).explain()


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: observe("p", memory.items([]) | discard()), "give a source with its steps, and no sink"),  # type: ignore[call-overload]
        (lambda: observe("p", map(len)), "give a source with its steps"),  # type: ignore[call-overload]
        (lambda: observe("", memory.items([])), "give the pipeline a name"),
        (lambda: observe("p", memory.items([]) | batch(10), credit=2), "its batches hold up to 10 messages"),
    ],
)
def test_what_cannot_work_is_refused(build: Any, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        build()
