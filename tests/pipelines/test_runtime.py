"""The runtime beside the random stories: what each fault does, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from tests.pipelines.world import Queue, Recorded, failing, virtually
from warren.core.chunk import Chunk
from warren.core.errors import ConnectorError, PartialWriteError, ShutdownError, StalledError, WarrenError
from warren.core.graph import Flow, Operator
from warren.core.message import Batch
from warren.core.stage import Handler, Stage
from warren.operators import batch, constant, dead_letter, discard, filter, map, merge, retry, route, tumbling, window
from warren.pipelines.pipeline import Pipeline, Running


def run(flow: Flow, *, meanwhile: Callable[[Running], Coroutine[Any, Any, None]] | None = None, **options: Any) -> float:
    """Run a flow to its end in virtual time; give the seconds it took."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        running = Pipeline("p", flow, **options).start(clock=loop.time)
        if meanwhile is not None:
            await meanwhile(running)
        await running
        return loop.time()

    return virtually(main)


def after(
    delay: float, action: Callable[[Running], object] = Running.stop
) -> Callable[[Running], Coroutine[Any, Any, None]]:
    async def act(running: Running) -> None:
        await asyncio.sleep(delay)
        action(running)

    return act


async def nap(value: Any) -> Any:
    await asyncio.sleep(10)
    return value


async def hang(value: Any) -> Any:
    await asyncio.get_running_loop().create_future()


# Sources


@pytest.mark.parametrize("count", [0, 1, 2, 5000])
def test_everything_is_delivered_and_acknowledged(count: int) -> None:
    queue, out = Queue(range(count)), Recorded()
    run(queue | map(lambda x: x) | out)
    assert out.values == list(range(count))
    assert queue.acknowledged == list(range(count))
    assert (queue.opened, queue.closed, out.opened, out.closed) == (1, 1, 1, 1)


def test_the_credit_bounds_what_is_unsettled() -> None:
    queue, seen = Queue(range(100)), []

    async def slow(what: str, *details: Any) -> None:
        seen.append(sum(queue.deliveries.values()) - len(queue.acknowledged))
        await asyncio.sleep(1)

    run(queue | Recorded(hook=slow), credit=7)
    assert max(seen) == 7


def test_one_source_that_fails_stops_the_others_and_gives_everything_back() -> None:
    async def fail(what: str, *details: Any) -> None:
        if what == "receive":
            await asyncio.sleep(5)
            raise ConnectorError("the first source is gone")

    first, second = Queue([1], hook=fail), Queue(range(10), live=True)
    with pytest.raises(ConnectorError, match="first source is gone"):
        run(merge(first, second) | map(nap) | Recorded())
    assert (first.closed, second.closed) == (1, 1)
    assert sorted(i for _, i, _ in second.ready) == list(range(10))


def test_a_queue_may_be_read_and_written_by_one_pipeline() -> None:
    class Both(Queue, Recorded):
        name = "both"  # type: ignore[assignment]  # of either

        def __init__(self) -> None:
            Queue.__init__(self, [1])

        async def open(self, **options: Any) -> Any:
            if options:
                return await Queue.open(self, **options)
            return await Recorded("in").open()

    both = Both()
    run(Flow(both, both))
    assert both.acknowledged == [0]


def test_a_content_type_nobody_reads_fails_the_message_and_not_the_pipeline() -> None:
    class Odd(Queue):
        type = int

        async def open(self, *, until_empty: bool = False) -> Any:
            connection = await super().open(until_empty=until_empty)
            receive = connection._receive

            async def odd(limit: int) -> Batch | None:
                read = await receive(limit)
                if read is not None:
                    read.content_type = "application/x-unknown"
                return read

            connection._receive = odd  # type: ignore[method-assign]  # one that says another content type
            return connection

    queue, out = Odd([b"1"]), Recorded()
    run(queue | out)
    [(_, headers)] = queue.letters["p.dead"]
    assert headers["warren-error"] == "DecodeError"
    assert "application/x-unknown" in headers["warren-reason"]


def test_a_failing_acknowledgement_stops_the_pipeline() -> None:
    async def fail(what: str, *details: Any) -> None:
        if what == "acknowledge":
            raise ConnectorError("no acknowledgement")

    queue = Queue(range(3), hook=fail, live=True)
    with pytest.raises(ConnectorError, match="no acknowledgement"):
        run(queue | Recorded())
    assert queue.acknowledged == []
    assert len(queue.ready) == 3


# Sinks


def test_a_failing_sink_stops_the_pipeline_and_nothing_is_acknowledged() -> None:
    queue, fine = Queue(range(10), live=True), Recorded("fine")
    flow = queue | route(lambda x: "a" if x < 5 else "b", a=map(nap) | fine, b=Recorded("bad", hook=failing()))
    with pytest.raises(ConnectorError):
        run(flow)
    assert queue.acknowledged == []
    assert fine.closed == 1


def test_a_timeout_error_of_a_sink_is_told_as_it_is() -> None:
    async def late(what: str, *details: Any) -> None:
        if what == "write":
            await asyncio.sleep(1)
            raise TimeoutError("the sink did not answer")

    with pytest.raises(TimeoutError, match="the sink did not answer"):
        run(Queue([1]) | Recorded(hook=late))


def test_refused_values_are_dead_letters_and_the_others_delivered() -> None:
    async def refuse(what: str, values: Sequence[Any] = ()) -> None:
        if what == "write" and 2 in values:
            raise PartialWriteError({list(values).index(2): ValueError("no twos")})

    queue = Queue([1, 2, 3])
    run(queue | Recorded(hook=refuse))
    assert sorted(queue.acknowledged) == [0, 1, 2]
    assert [letter for letter, _ in queue.letters["p.dead"]] == ["1"]


def test_failing_dead_letters_stop_the_pipeline_and_nothing_is_acknowledged() -> None:
    async def fail(what: str, *details: Any) -> None:
        if what == "dead":
            raise ConnectorError("no dead letters")

    queue = Queue([0], hook=fail, live=True)
    with pytest.raises(ConnectorError, match="no dead letters"):
        run(queue | map(lambda x: 1 / x) | Recorded())
    assert (queue.acknowledged, len(queue.ready)) == ([], 1)


def test_an_error_whose_text_cannot_be_read_is_a_dead_letter_all_the_same() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

    def fail(value: int) -> int:
        raise Broken

    queue = Queue([1])
    run(queue | map(fail) | Recorded())
    assert queue.letters["p.dead"][0][1]["warren-error"] == "Broken"


def test_two_branches_to_one_sink_share_its_connection() -> None:
    async def slow(what: str, *details: Any) -> None:
        await asyncio.sleep(1)

    queue, out = Queue(range(10)), Recorded(hook=slow)
    run(queue | route(lambda x: "ab"[x % 2], a=out, b=map(lambda x: -x) | out))
    assert sorted(map_abs(out.values)) == list(range(10))
    assert out.opened == 1


def map_abs(values: Sequence[int]) -> list[int]:
    return [abs(value) for value in values]


# Flushing, stalls


def test_a_batch_in_a_branch_flushes_into_the_batch_behind_it() -> None:
    queue, out = Queue([1]), Recorded()
    run(queue | route(lambda x: "a", a=batch(10)) | batch(10) | out)
    assert out.values == [[[1]]]


def test_credit_that_nothing_will_let_go_is_told() -> None:
    queue = Queue(range(100), live=True)
    with pytest.raises(StalledError, match="all 10 credits are held"):
        run(queue | batch(8, by=lambda x: x % 5) | Recorded(), credit=10)
    assert len(queue.ready) == 100


def test_full_credit_is_no_stall_while_a_timer_runs_or_the_source_is_told() -> None:
    async def slow(what: str, *details: Any) -> None:
        await asyncio.sleep(5)

    queue, out = Queue(range(30), hook=slow), Recorded(hook=slow)
    run(queue | batch(3, "7s") | map(lambda x: x) | out, credit=3)
    assert len(queue.acknowledged) == 30


def test_an_operator_that_keeps_values_is_found_out() -> None:
    class Keeps(Operator[Any, Any]):
        def attach(self, stage: Stage) -> Handler:
            kept: list[Chunk] = []
            return kept.append

    with pytest.raises(StalledError, match="does not let them go at a flush"):
        run(Queue([1]) | Keeps() | Recorded())


def test_a_window_closes_for_a_message_that_was_retried_before_it() -> None:
    tries = iter([ConnectionError("busy")])

    def flaky(value: float) -> float:
        if value == 1 and (error := next(tries, None)):
            raise error
        return value

    queue, out = Queue([1, 2, 3, 10, 20], live=True, chunk=1), Recorded()
    steps = map(flaky) | window(tumbling("5s"), time=lambda x: x, idle=None) | retry(constant("1s"))
    seen: list[int] = []
    flow = queue | steps | map(lambda held: held.values) | out

    async def look(running: Running) -> None:
        await asyncio.sleep(200)
        seen.append(len(out.values))
        running.stop()

    run(flow, meanwhile=look)
    assert seen == [2]


# Stopping


def test_stopping_drains_what_is_in_flight() -> None:
    queue, out = Queue(range(5), live=True), Recorded()
    assert run(queue | map(nap) | batch(100) | out, meanwhile=after(1)) >= 10
    assert out.values == [[0, 1, 2, 3, 4]]
    assert queue.acknowledged == [0, 1, 2, 3, 4]


def test_stopping_twice_and_after_the_end_does_nothing() -> None:
    queue = Queue([1])

    async def stop(running: Running) -> None:
        running.stop()
        running.stop()
        await asyncio.sleep(50)
        running.stop()

    run(queue | Recorded(), meanwhile=stop)


def test_stopping_does_not_wait_for_an_end_that_does_not_open() -> None:
    async def never(what: str, *details: Any) -> None:
        if what == "open":
            await asyncio.get_running_loop().create_future()

    queue, out = Queue([1], hook=never), Recorded()
    assert run(queue | out, meanwhile=after(1)) == 1
    assert (queue.opened, out.closed, out.values) == (0, 1, [])


def test_what_is_still_in_flight_at_the_deadline_goes_back() -> None:
    queue = Queue(range(5), live=True)
    with pytest.raises(ShutdownError, match=r"5 message\(s\) were still in flight after 30 s"):
        run(queue | map(hang) | Recorded(), meanwhile=after(1))
    assert len(queue.ready) == 5


def test_a_handler_that_refuses_to_be_cancelled_does_not_hold_the_end_up() -> None:
    async def stubborn(value: int) -> None:
        for _ in range(100):
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                continue

    async def main() -> None:
        running = Pipeline("p", queue | map(stubborn) | Recorded(), shutdown=1).start()
        await asyncio.sleep(1)
        running.stop()
        with pytest.raises(ShutdownError):
            await running
        assert queue.closed == 1
        await asyncio.sleep(3000)

    queue = Queue([1], live=True)
    virtually(main)


def test_a_connection_that_does_not_close_does_not_hold_the_others_up() -> None:
    async def stuck(what: str, *details: Any) -> None:
        if what == "acknowledge":
            await asyncio.sleep(1e6)

    queue, out = Queue([1], hook=stuck, live=True), Recorded()
    with pytest.raises(ShutdownError):
        run(queue | out, meanwhile=after(1), shutdown=3)
    assert (queue.closed, out.closed) == (1, 1)


def test_no_timer_fires_after_the_end() -> None:
    calls: list[int] = []

    def fail(value: int) -> int:
        calls.append(value)
        raise ConnectionError

    async def main() -> None:
        running = Pipeline("p", queue | map(fail) | retry(constant("8s")) | Recorded(), shutdown=1).start()
        await asyncio.sleep(1)
        running.stop()
        with pytest.raises(ShutdownError):
            await running
        await asyncio.sleep(100)

    queue = Queue([1], live=True)
    virtually(main)
    assert calls == [1]


def test_a_cancellation_while_closing_leaves_nothing_open() -> None:
    async def slow(what: str, *details: Any) -> None:
        if what in ("acknowledge", "release"):
            await asyncio.sleep(3)

    async def main() -> None:
        running = Pipeline("p", queue | map(hang) | Recorded(), shutdown=1).start()
        await asyncio.sleep(1)
        running.stop()
        await asyncio.sleep(2)
        running._task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    queue = Queue([1], hook=slow, live=True)
    virtually(main)
    assert (queue.closed, len(queue.ready)) == (1, 1)


def test_a_handler_that_cancels_its_task_stops_the_pipeline() -> None:
    async def suicidal(value: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)

    queue = Queue([1], live=True)
    with pytest.raises(WarrenError, match="was cancelled by a handler"):
        run(queue | map(suicidal) | discard())
    assert len(queue.ready) == 1


def test_an_observer_that_fails_at_the_end_is_told_and_everything_is_closed() -> None:
    class Observer:
        def open(self, pipeline: str) -> None: ...
        def settled(self, *details: Any) -> None: ...
        def handled(self, *details: Any) -> None: ...
        def close(self) -> None:
            raise OSError("the disk is full")

    queue = Queue([1])
    with pytest.raises(OSError, match="disk is full"):
        run(queue | filter(bool) | dead_letter("x") | Recorded(), observers=[Observer()])
    assert (queue.acknowledged, queue.closed) == ([0], 1)


class Opens(Operator[Any, Any]):
    """Has something of its own that must be closed."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.closed = 0

    def attach(self, stage: Stage) -> Handler:
        stage.run.on_close(self.close)
        return lambda chunk: chunk

    def close(self) -> None:
        self.closed += 1
        if self.error is not None:
            raise self.error


def test_steps_are_told_once_that_the_run_has_ended() -> None:
    step, other = Opens(), Opens()
    run(Queue([1, 2]) | step | other | discard())
    assert (step.closed, other.closed) == (1, 1)


def test_steps_are_told_of_an_end_by_an_error_as_well() -> None:
    async def fail(what: str, *details: Any) -> None:
        if what == "receive":
            raise ConnectorError("gone")

    step = Opens()
    with pytest.raises(ConnectorError, match="gone"):
        run(Queue([1], hook=fail) | step | discard())
    assert step.closed == 1


def test_an_error_at_the_end_keeps_nothing_from_being_closed() -> None:
    queue, step, other = Queue([1]), Opens(RuntimeError("stuck")), Opens()
    with pytest.raises(RuntimeError, match="stuck"):
        run(queue | step | other | discard())
    assert (step.closed, other.closed, queue.closed) == (1, 1, 1)
