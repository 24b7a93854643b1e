from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench, FakeRun
from warren.core.chunk import Chunk
from warren.core.errors import HandlerError
from warren.core.stage import Stage
from warren.operators import tap
from warren.operators.slots import ByKey, ByUrgency, InOrder, Slot, Slots, Waiting, bounded
from warren.pipelines.virtual import VirtualLoop


def stage() -> Any:
    return Bench(tap(lambda value: None)).stages[0]


def taken(waiting: Waiting) -> list[Any]:
    values = []
    while len(waiting):
        slot = waiting.take()
        values.append(slot.value)
        waiting.done(slot)
    return values


def chunk(*values: Any, attempt: int = 1) -> Chunk:
    return Chunk(list(values), range(len(values)), (), attempt)


def test_the_first_to_come_is_next_and_those_tried_again_go_before() -> None:
    waiting = InOrder(stage())
    assert len(waiting) == 0
    waiting.add(chunk(1, 2))
    slots, failures = waiting.add(chunk(8, 9, attempt=2))
    assert ([(slot.value, slot.attempt) for slot in slots], failures) == ([(8, 2), (9, 2)], ())
    assert taken(waiting) == [8, 9, 1, 2]


def test_only_so_many_of_a_key_may_be_taken_and_keys_take_turns() -> None:
    waiting = ByKey(stage(), lambda value: value[0], 2, "limit_by")
    waiting.add(chunk("a1", "a2", "a3", "b1", "a4"))
    assert len(waiting) == 3
    first = [waiting.take() for _ in range(3)]
    assert ([slot.value for slot in first], len(waiting)) == (["a1", "a2", "b1"], 0)
    waiting.done(first[2])
    assert len(waiting) == 0
    waiting.done(first[1])
    assert (len(waiting), waiting.take().value, len(waiting)) == (1, "a3", 0)


def test_a_key_that_is_done_is_forgotten() -> None:
    waiting = ByKey(stage(), lambda value: value, 1, "order_by")
    waiting.add(chunk(1, 2, 1))
    assert taken(waiting) == [1, 2, 1]
    assert waiting.lanes == {}


def test_of_a_key_those_tried_again_go_before() -> None:
    waiting = ByKey(stage(), lambda value: value[0], 1, "order_by")
    waiting.add(chunk("a1", "a2", "b1"))
    waiting.add(chunk("a8", "a9", attempt=2))
    assert taken(waiting) == ["a8", "b1", "a9", "a1", "a2"]


def test_a_key_that_cannot_be_told_is_a_failure() -> None:
    waiting = ByKey(stage(), lambda value: [value], 1, "order_by")
    slots, [failure] = waiting.add(chunk(1))
    assert (slots, len(waiting)) == ([], 0)
    assert "order_by= answered [1] for 1" in str(failure.error)


def test_the_most_urgent_is_next_and_of_equals_the_first() -> None:
    waiting = ByUrgency(stage(), lambda value: value[0])
    waiting.add(chunk((1, "a"), (3, "b"), (1, "c"), (2.5, "d")))
    waiting.add(chunk((1, "x"), (3, "y"), (1, "z"), attempt=2))
    assert "".join(name for _, name in taken(waiting)) == "ybdxzac"


def test_what_is_no_priority_is_a_failure() -> None:
    async def look(value: object) -> float:
        return 1.0

    answers = ["high", None, float("nan"), look(0), True, float("inf")]
    waiting = ByUrgency(stage(), lambda value: answers[value])  # type: ignore[arg-type, return-value]
    slots, failures = waiting.add(chunk(*range(6)))
    assert [slot.value for slot in slots] == [4, 5]
    assert "priority= answered 'high' for 0; answer with a number" in str(failures[0].error)
    assert len(failures) == 4


@given(st.lists(st.one_of(st.integers(0, 3), st.none()), max_size=60), st.integers(1, 3))
def test_a_key_is_never_at_work_more_often_than_its_limit_and_nothing_is_left(steps: list[int | None], limit: int) -> None:
    waiting = ByKey(stage(), lambda value: value[0], limit, "limit_by")
    working: list[Slot] = []
    order: list[tuple[int, int]] = []
    for number, key in enumerate(steps):
        if key is not None:
            waiting.add(chunk((key, number)))
        elif working:
            waiting.done(working.pop(number % len(working)))
        if number % 2 and len(waiting):
            working.append(waiting.take())
            order.append(working[-1].value)
        keys = [slot.value[0] for slot in working]
        assert all(keys.count(each) <= limit for each in keys)
    for slot in working:
        waiting.done(slot)
    order += taken(waiting)
    assert sorted(order, key=lambda value: value[1]) == [(key, i) for i, key in enumerate(steps) if key is not None]
    for key in range(4):
        numbers = [number for each, number in order if each == key]
        assert numbers == sorted(numbers)
    assert waiting.lanes == {}


def connected() -> tuple[Stage, list[Chunk]]:
    out: list[Chunk] = []
    made = Stage(FakeRun(), "", "step")
    made.connect(out.append)
    return made, out


def test_what_is_done_leaves_in_order_and_together() -> None:
    made, out = connected()

    async def main() -> None:
        slots = Slots(made)
        slots.ready()
        a, b, c = slots.add(Chunk([1, 2, 3], range(3)))
        c.succeed("c")
        slots.ready()
        b.fail(made, ValueError("b"))
        a.succeed("a")
        slots.ready()
        slots.ready()
        await asyncio.sleep(0)
        assert not slots

    asyncio.run(main())
    assert [(chunk.values, chunk.tokens, len(chunk.failures)) for chunk in out] == [(["a", "c"], [0, 2], 1)]
    assert made.run.busy == 0  # type: ignore[attr-defined]


def test_what_is_tried_again_goes_first_and_apart() -> None:
    made, out = connected()

    async def main() -> None:
        slots = Slots(made)
        for slot in [*slots.add(Chunk([1], [0])), *slots.add(Chunk([2, 3], [1, 2], (), 2))]:
            slot.succeed(slot.value)
        slots.ready()
        await asyncio.sleep(0)

    asyncio.run(main())
    assert [(chunk.values, chunk.attempt) for chunk in out] == [([2, 3], 2), ([1], 1)]


def test_what_cannot_be_handed_on_stops_the_pipeline() -> None:
    made, _ = connected()

    def refuse(chunk: Chunk) -> None:
        raise RuntimeError("full")

    made.connect(refuse)

    async def main() -> None:
        slots = Slots(made)
        slots.add(Chunk([1], [0]))[0].succeed(1)
        slots.ready()
        await asyncio.sleep(0)

    asyncio.run(main())
    assert [str(error) for error in made.run.stopped] == ["full"]  # type: ignore[attr-defined]


def test_a_call_is_bounded() -> None:
    made, _ = connected()

    async def cancelled() -> None:
        raise asyncio.CancelledError

    async def own() -> None:
        raise TimeoutError("mine")

    async def main() -> None:
        assert await bounded(made, asyncio.sleep(1, "slept"), 2) == "slept"
        with pytest.raises(TimeoutError, match="step: no answer within 2 s"):
            await bounded(made, asyncio.sleep(3), 2)
        for timeout in (None, 2):
            with pytest.raises(TimeoutError, match="mine"):
                await bounded(made, own(), timeout)
            with pytest.raises(HandlerError, match="cancelled by its own code"):
                await bounded(made, cancelled(), timeout)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
