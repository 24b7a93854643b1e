"""Reading and writing: credit, decoding one content type for each message, poison, telling the source."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.pipelines.world import Queue, Recorded, virtually
from warren.core.errors import PartialWriteError
from warren.core.graph import Flow
from warren.core.message import Batch
from warren.operators import batch, flat_map, map
from warren.pipelines.pipeline import Pipeline


class Given(Queue):
    """A source that delivers one batch with columns of its own."""

    def __init__(self, values: list[Any], type: Any = None, max_deliveries: int | None = None, **columns: Any) -> None:
        super().__init__(values)
        self.type = type
        self.max_deliveries = max_deliveries
        self.columns = columns

    async def open(self, *, until_empty: bool = False) -> Any:
        connection = await super().open(until_empty=until_empty)
        receive = connection._receive

        async def with_columns(limit: int) -> Batch | None:
            read = await receive(limit)
            for name, column in self.columns.items() if read is not None else ():
                setattr(read, name, column)
            return read

        connection._receive = with_columns  # type: ignore[method-assign]  # the same with more columns
        return connection


def run(flow: Flow, **options: Any) -> None:
    async def main() -> None:
        await Pipeline("p", flow, **options).start(clock=lambda: 7.0)

    virtually(main)


def test_each_message_can_have_its_own_content_type() -> None:
    types = ["application/json", "application/msgpack", "application/x-unknown", "application/json"]
    queue, out = Given([b"1", b"\x02", b"3", b"x"], int, content_type=types), Recorded()
    run(queue | out)
    assert out.values == [1, 2]
    assert [(letter, headers["warren-error"]) for letter, headers in queue.letters["p.dead"]] == [
        ("2", "DecodeError"),
        ("3", "DecodeError"),
    ]


def test_a_message_that_was_handed_out_too_often_is_put_aside() -> None:
    queue, out = Given([b"1", b"2", b"x", b"4"], int, max_deliveries=3, deliveries=[1, 4, 4, 3]), Recorded()
    run(queue | out)
    assert out.values == [1, 4]
    letters = queue.letters["p.dead"]
    assert [(letter, headers["warren-error"]) for letter, headers in letters] == [("1", "PoisonError"), ("2", "PoisonError")]
    assert "handed out 4 times and never settled, more than max_deliveries=3" in letters[0][1]["warren-reason"]


def test_a_delivery_that_ended_in_a_parked_message_is_not_held_against_it() -> None:
    counts = {"max_deliveries": 3, "deliveries": [5, 5, 5], "attempts": [1, 2, 3]}
    queue, out = Given([1, 2, 3], **counts), Recorded()
    run(queue | out)
    assert out.values == [3]
    assert [headers["warren-error"] for _, headers in queue.letters["p.dead"]] == ["PoisonError", "PoisonError"]
    assert "handed out 4 times and never settled" in queue.letters["p.dead"][1][1]["warren-reason"]


def test_where_a_lost_worker_counts_as_an_attempt_no_delivery_is_explained_by_one() -> None:
    queue, out = Given([1], max_deliveries=3, deliveries=[5], attempts=[5]), Recorded()
    queue.losses_are_attempts = True
    run(queue | out)
    assert out.values == []


def test_what_settles_in_one_turn_is_told_in_one_call() -> None:
    calls: list[int] = []

    async def count(what: str, handles: Any = ()) -> None:
        if what == "acknowledge":
            calls.append(len(handles))

    queue = Queue(range(3000), hook=count)
    run(queue | Recorded(), credit=5000)
    assert sum(calls) == 3000
    assert len(calls) <= 6


def test_what_comes_during_a_write_is_written_together() -> None:
    async def slow(what: str, *details: Any) -> None:
        await asyncio.sleep(5)

    queue, out = Queue(range(50), chunk=1), Recorded(hook=slow)
    run(queue | out)
    assert out.values == list(range(50))
    assert out.writes == [1, 49]


def test_every_message_of_a_refused_batch_gets_a_letter() -> None:
    async def refuse(what: str, *details: Any) -> None:
        if what == "write":
            raise PartialWriteError({0: ValueError("too large")})

    queue = Queue(range(3))
    run(queue | batch(3) | Recorded(hook=refuse))
    assert [letter for letter, _ in queue.letters["p.dead"]] == ["0", "1", "2"]
    assert queue.letters["p.dead"][0][1]["warren-stage"] == "out"


def test_ids_of_derived_values_are_stable_and_tell_where_they_are_from() -> None:
    queue, out = Queue([2, 1]), Recorded()
    run(queue | flat_map(lambda n: [n] * n) | out)
    assert out.ids == ["0/0", "0/1", "1"]
    queue, out = Queue([2, 1]), Recorded()
    run(queue | batch(2) | out)
    assert out.ids == ["0+1"]


def test_ready_values_become_letters_that_can_be_read() -> None:
    queue = Queue([object(), "\udc80", {"a": 1}])
    run(queue | map(lambda value: 1 / 0) | Recorded())
    assert len(queue.letters["p.dead"]) == 3


def test_an_interrupt_right_after_a_message_is_settled_does_not_hang_the_end() -> None:
    async def main() -> None:
        pipeline = Pipeline("p", Queue(range(3), live=True) | map(lambda value: value) | Recorded())
        running = pipeline.start()
        for _ in range(1000):
            if any(reader._telling is not None for reader in running._runtime._readers):
                break
            await asyncio.sleep(0)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        turns = 0
        while not running._task.done() and turns < 1000:
            await asyncio.sleep(0)
            turns += 1
        assert running._task.cancelled()

    virtually(main)
