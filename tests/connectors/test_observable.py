from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.disposable import Disposable
from reactivex.subject import Subject

from warren import Pipeline, constant
from warren.connectors import memory, observable
from warren.connectors.conformance import Conformance
from warren.core.codecs import encode
from warren.core.errors import ConnectorError, GraphError, ShutdownError
from warren.core.graph import Outlet
from warren.core.message import Outgoing
from warren.operators import batch, debounce, map, retry
from warren.pipelines.virtual import VirtualLoop


def virtual(main: Callable[[], Awaitable[Any]]) -> Any:
    async def started() -> Any:
        return await main()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(started())


def run(source: Observable[Any], *steps: Any, options: Any = None, **rest: Any) -> list[tuple[float, Any]]:
    """Run a pipeline over an Observable in virtual time: what came out, and when; its error is the last."""
    out: list[tuple[float, Any]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        stream: Any = observable.source(source, **(options or {}))
        for step in steps:
            stream |= step
        noted = map(lambda value: out.append((round(loop.time(), 3), value)))
        try:
            await Pipeline("p", stream | noted | memory.into([]), **rest).start(clock=loop.time)
        except Exception as error:
            out.append((round(loop.time(), 3), error))

    virtual(main)
    return out


def values(found: list[tuple[float, Any]]) -> list[Any]:
    return [value for _, value in found]


def test_empty_ends_at_once() -> None:
    assert run(reactivex.empty()) == []


def test_never_goes_on_until_it_is_stopped() -> None:
    subscribed: list[str] = []

    def subscribe(observer: Any, scheduler: Any = None) -> abc.DisposableBase:
        subscribed.append("yes")
        return Disposable(lambda: subscribed.append("disposed"))

    async def main() -> None:
        running = Pipeline("p", observable.source(Observable(subscribe)) | memory.into([])).start()
        await asyncio.sleep(1e6)
        assert subscribed == ["yes"]
        running.stop()
        await running

    virtual(main)
    assert subscribed == ["yes", "disposed"]


def test_a_single_value_and_many_come_in_order() -> None:
    assert values(run(reactivex.of(7))) == [7]
    assert values(run(reactivex.of(*range(500)))) == list(range(500))


@given(st.lists(st.integers(1, 20), max_size=20), st.booleans())
def test_values_come_in_their_time(pauses: list[int], fails: bool) -> None:
    times = [sum(pauses[: i + 1]) for i in range(len(pauses))]
    end = sum(pauses) + 1
    parts = [reactivex.timer(time).pipe(ops.map(lambda _, i=i: i)) for i, time in enumerate(times)]
    over = reactivex.throw(ValueError("over")) if fails else reactivex.empty()
    last = reactivex.timer(end).pipe(ops.flat_map(lambda _: over))
    found = run(reactivex.merge(*parts, last))
    error = found.pop() if fails else None
    assert [(time, value) for time, value in found] == list(zip(times, range(len(times)), strict=True))
    if error is not None:
        assert (error[0], str(error[1])) == (end, "over")


def test_an_error_ends_the_pipeline_with_that_error_after_all_before_it_is_settled() -> None:
    async def slow(value: int) -> int:
        await asyncio.sleep(60)
        return value

    error = ValueError("over")
    source = reactivex.concat(reactivex.of(1, 2, 3), reactivex.throw(error))
    found = run(source, map(slow, concurrency=1), batch(100))
    assert found == [(180, [1, 2, 3]), (180, error)]
    assert values(run(reactivex.throw(error))) == [error]


def test_what_waits_for_a_retry_is_tried_before_the_error_is_told() -> None:
    tries = iter([ConnectionError("busy"), None])

    def ask(value: int) -> int:
        if (error := next(tries)) is not None:
            raise error
        return value

    source = reactivex.concat(reactivex.of(1), reactivex.throw(ValueError("over")))
    found = run(source, map(ask), retry(constant("1h"), park="1s"))
    assert [(time, str(value)) for time, value in found] == [(3600, "1"), (3600, "over")]


def test_what_is_no_exception_still_ends_it() -> None:
    found = run(Observable(lambda observer, scheduler: observer.on_error("broken")))  # type: ignore[arg-type]
    (error,) = values(found)
    assert isinstance(error, ConnectorError) and "'broken'" in str(error)


def test_a_subscription_that_fails_is_the_error() -> None:
    def subscribe(observer: Any, scheduler: Any = None) -> abc.DisposableBase:
        raise OSError("no such device")

    (error,) = values(run(Observable(subscribe)))
    assert str(error) == "no such device"


def test_a_value_that_finds_the_buffer_full_ends_it_with_a_sentence_after_those_that_wait() -> None:
    found = values(run(reactivex.of(*range(100)), options={"buffer": 10}))
    assert found[:-1] == list(range(10))
    assert isinstance(found[-1], ConnectorError)
    assert str(found[-1]).startswith("observable: a value came while 10 waited for the pipeline, which is slower: 10; raise")


def test_or_it_is_dropped_and_counted() -> None:
    source = observable.source(reactivex.of(*range(100)), buffer=10, overflow="drop")
    reasons: list[Any] = []

    async def main() -> list[int]:
        out: list[int] = []

        async def hold(value: int) -> int:
            if value == 9:
                reasons.append(await running.health())
            return value

        running = Pipeline("p", source | map(hold) | memory.into(out)).start()
        await running
        return out

    assert virtual(main) == list(range(10))
    assert source.dropped == 90
    assert reasons[0].reasons == ("observable: 90 values were dropped",)
    assert virtual(main) == list(range(10))
    assert source.dropped == 180


def test_a_slow_consumer_makes_values_wait_within_credit_and_buffer() -> None:
    async def slow(value: int) -> int:
        await asyncio.sleep(2)
        return value

    ticks = reactivex.interval(1).pipe(ops.take(9))
    steps = map(slow, concurrency=1)
    found = run(ticks, steps, options={"buffer": 8}, credit=1)
    assert found == [(3 + 2 * i, i) for i in range(9)]
    found = run(ticks, steps, options={"buffer": 2, "overflow": "drop"}, credit=1)
    assert values(found)[:4] == [0, 1, 2, 3] and len(found) < 9
    found = run(ticks, steps, options={"buffer": 2}, credit=1)
    assert isinstance(found[-1][1], ConnectorError)
    assert values(found)[:-1] == list(range(len(found) - 1))


def test_what_was_not_settled_when_the_run_ends_is_gone() -> None:
    async def hang(value: int) -> None:
        await asyncio.sleep(1e9)

    subject: Subject[int] = Subject()

    async def main() -> None:
        pipeline = Pipeline("p", observable.source(subject) | map(hang) | memory.into([]), shutdown="1s")
        running = pipeline.start()
        await asyncio.sleep(1)
        subject.on_next(1)
        await asyncio.sleep(1)
        running.stop()
        with pytest.raises(ShutdownError):
            await running
        assert not subject.observers
        out: list[int] = []
        running = Pipeline("p", observable.source(subject) | memory.into(out)).start()
        await asyncio.sleep(1)
        subject.on_next(2)
        await asyncio.sleep(1)
        running.stop()
        await running
        subject.on_next(3)
        assert out == [2]

    virtual(main)


def test_each_run_subscribes_anew() -> None:
    out: list[int] = []
    pipeline = Pipeline("p", observable.source(reactivex.of(1, 2)) | memory.into(out))
    pipeline.run()
    pipeline.run()
    assert out == [1, 2, 1, 2]


def test_values_may_come_from_another_thread_and_after_the_end() -> None:
    ended = threading.Event()
    observers: list[Any] = []

    def subscribe(observer: Any, scheduler: Any = None) -> abc.DisposableBase:
        observers.append(observer)

        def emit() -> None:
            for value in range(100):
                observer.on_next(value)
            observer.on_completed()
            ended.wait(20)

        thread = threading.Thread(target=emit)
        thread.start()
        return Disposable(ended.set)

    out: list[int] = []
    Pipeline("p", observable.source(Observable(subscribe)) | memory.into(out)).run()
    assert out == list(range(100))
    assert ended.is_set()


def test_what_comes_once_the_event_loop_is_gone_is_ignored() -> None:
    async def main() -> Any:
        return await observable.source(reactivex.never()).open()

    connection = asyncio.run(main())
    thread = threading.Thread(target=connection.on_next, args=(1,))
    thread.start()
    thread.join()
    asyncio.run(connection.close())
    connection.on_next(2)
    assert list(connection.waiting) == [1]


def test_bytes_are_decoded_and_what_cannot_be_is_a_dead_letter() -> None:
    broker, out = memory.Broker(), list[int]()
    source = observable.source(reactivex.of(b"1", b"x", b"3"), int, broker=broker)
    Pipeline("p", source | memory.into(out)).run()
    assert out == [1, 3]
    assert broker.peek("p.dead").bodies == [b"x"]


def test_until_empty_ends_once_nothing_waits() -> None:
    out: list[int] = []
    flow = reactivex.concat(reactivex.of(1, 2), reactivex.never())
    Pipeline("p", observable.source(flow) | memory.into(out)).run(until_empty=True)
    assert out == [1, 2]


def test_it_explains_itself_and_can_be_tried_out() -> None:
    pipeline = Pipeline("p", observable.source(reactivex.of(b""), int, buffer=2000) | debounce("1s") | memory.into([]))
    note = "[int, up to 2,000 values wait, then an error, at most once: what is not settled when the run ends is gone]"
    assert f"observable   {note}" in pipeline.explain()
    assert "then values are dropped" in observable.source(reactivex.of(1), overflow="drop").note(1)
    assert pipeline.test([1, 2]).values == [2]


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: observable.source([1, 2]), r"observable.source\(\[1, 2\]\): give an Observable of reactivex"),  # type: ignore[call-overload]
        (lambda: observable.source(reactivex.of(1), buffer=0), "buffer must be a whole number of at least 1"),
        (lambda: observable.source(reactivex.of(1), buffer=True), "buffer must be a whole number of at least 1"),
        (lambda: observable.source(reactivex.of(1), overflow="wait"), "overflow must be 'error' or 'drop'"),  # type: ignore[call-overload]
    ],
)
def test_what_cannot_work_is_refused(build: Any, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        build()


class Mailbox(Outlet[Any]):
    """What is written to it is emitted to whoever subscribes first, from then on at once."""

    def __init__(self) -> None:
        self.early: list[bytes] = []
        self.observer: Any = None

    def subscribe(self, observer: Any, scheduler: Any = None) -> abc.DisposableBase:
        early, self.early = self.early, []
        self.observer = observer
        for body in early:
            observer.on_next(body)
        return Disposable(self.leave)

    def leave(self) -> None:
        self.observer = None

    async def open(self) -> Mailbox:
        return self

    async def write(self, messages: Outgoing) -> None:
        for value in messages.values:
            body = encode(value)[0]
            if self.observer is None:
                self.early.append(body)
            else:
                self.observer.on_next(body)

    async def close(self) -> None:
        pass


class TestConformance(Conformance):
    """What a source that takes nothing back beyond its run, and has no metadata, can keep of the suite."""

    loop_factory = VirtualLoop

    @pytest.fixture(autouse=True)
    def _boxes(self) -> None:
        self.boxes: dict[str, Mailbox] = {}

    def queue(self, name: str) -> observable.Emissions[Any]:
        return observable.source(Observable(self.sink(name).subscribe), broker=memory.Broker())

    def sink(self, name: str) -> Mailbox:
        return self.boxes.setdefault(name, Mailbox())

    # What is not settled when a connection closes, or is lost, is gone.
    test_unsettled_messages_come_back_after_a_crash = None  # type: ignore[assignment]
    test_unsettled_messages_come_back_after_close_before_newer_ones = None  # type: ignore[assignment]
    test_settling_is_idempotent_and_unknown_handles_are_no_error = None  # type: ignore[assignment]
    test_part_of_a_batch_can_be_settled = None  # type: ignore[assignment]
    test_released_messages_come_back_with_their_attempts_before_newer_ones = None  # type: ignore[assignment]
    # It carries values alone.
    test_metadata_comes_back = None  # type: ignore[assignment]
    test_values_are_encoded_with_their_content_type = None  # type: ignore[assignment]
    test_messages_without_an_id_get_distinct_stable_ones = None  # type: ignore[assignment]
    test_concurrent_writes_all_arrive = None  # type: ignore[assignment]
    test_a_value_that_cannot_be_written_does_not_hold_up_the_others = None  # type: ignore[assignment]
    # An Observable has one subscription for each connection, not one queue for all of them.
    test_receivers_share_without_overlap = None  # type: ignore[assignment]
    test_until_empty_waits_for_what_others_hold = None  # type: ignore[assignment]
    # Its dead letters are a queue in memory, which conforms by itself.
    test_dead_letters_are_a_queue = None  # type: ignore[assignment]
