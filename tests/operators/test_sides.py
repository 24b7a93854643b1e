"""Two sources side by side: what a chunk says of its side, and functions for each."""

from __future__ import annotations

from typing import Any

import pytest

from tests.operators.fake import Bench
from warren.connectors import memory
from warren.core.chunk import Chunk
from warren.core.errors import GraphError
from warren.core.stage import Handler, Stage
from warren.operators.sides import LEFT, RIGHT, Joining, Sided, Sides, both


class Named(Joining):
    """Puts a side's name beside each value; fails a first attempt."""

    def handlers(self, stage: Stage) -> tuple[Handler, Handler]:
        def handler(name: str) -> Handler:
            def handle(chunk: Chunk) -> Chunk:
                if chunk.attempt == 1:
                    return stage.without(chunk, {i: ValueError(name) for i in range(len(chunk))})
                return Chunk([(name, value) for value in chunk.values], chunk.tokens)

            return handle

        return handler("left"), handler("right")


def test_a_failed_message_is_tried_again_on_its_side() -> None:
    bench = Bench(Named())
    for side, value in ((LEFT, 1), (RIGHT, 2), (LEFT, 3)):
        bench.hand(Sided(Chunk([value], bench.accept([value])), side))
    assert bench.errors == ["left", "right", "left"]
    for failure in bench.failures:
        assert failure.redo is not None
        failure.redo(Chunk([failure.value], [failure.token], (), 2))
    assert bench.values == [("left", 1), ("right", 2), ("left", 3)]


def test_what_comes_in_apart_comes_in_on_its_side() -> None:
    class OneByOne(Named):
        def handlers(self, stage: Stage) -> tuple[Handler, Handler]:
            left, right = super().handlers(stage)

            def one(handler: Handler) -> Handler:
                def handle(chunk: Chunk) -> Chunk | None:
                    if len(chunk) > 1:
                        stage.apart(Chunk(chunk.values[1:], chunk.tokens[1:], (), chunk.attempt))
                    return handler(Chunk(chunk.values[:1], chunk.tokens[:1], (), chunk.attempt))

                return handle

            return one(left), one(right)

    bench = Bench(OneByOne())
    for side, values in ((LEFT, [1, 2]), (RIGHT, [3, 4])):
        bench.hand(Sided(Chunk(values, bench.accept(values), (), 2), side))
    assert (bench.values, bench.run.busy) == ([("left", 1), ("right", 3)], 2)
    assert bench.wait(0.1).values[2:] == [("left", 2), ("right", 4)]
    bench.finish()


def test_the_parts_of_sides() -> None:
    left, right = memory.queue("a"), memory.queue("b")
    sides = Sides("join", left=left, right=right)
    assert sides.name == "sides(memory:a, memory:b)"
    assert [label for label, _ in sides.branches()] == ["left", "right"]
    assert list(sides.inlets()) == [left, right]


def test_one_function_or_a_pair() -> None:
    assert both(len, "join(on=...)") == (len, len)
    assert both((len, min), "join(on=...)") == (len, min)
    bad: list[Any] = [None, (), (len,), (len, 5), [len, min]]
    for each in bad:
        with pytest.raises(GraphError, match=r"join\(on=...\): .*give a function of one value, or a pair of them"):
            both(each, "join(on=...)")
