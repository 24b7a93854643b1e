from __future__ import annotations

import random
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from tests.operators.fake import Bench
from warren import Pipeline, constant
from warren.connectors import memory
from warren.core.errors import GraphError
from warren.core.receipt import DELIVERED
from warren.operators import batch, bisect, frames, map, retry


def picky(frame: Any) -> list[int]:
    """Refuses frames with a negative number."""
    numbers: list[int] = list(frame["n"].to_pylist() if isinstance(frame, pa.Table | pa.RecordBatch) else frame["n"])
    if any(n < 0 for n in numbers):
        raise ValueError(f"negative among {len(numbers)}")
    return numbers


def frame(*numbers: int) -> pl.DataFrame:
    return pl.DataFrame({"n": numbers})


def test_good_frames_pass_whole() -> None:
    bench = Bench(bisect(picky)).push(frame(1, 2), frame(3), attempt=2)
    assert bench.values == [[1, 2], [3]]
    assert bench.out[0].attempt == 2
    bench.finish()


def test_what_fails_stands_alone_at_the_end() -> None:
    bench = Bench(bisect(picky)).push(frame(9), frame(1, 2, -3, 4, 5, 6, -7, 8), frame(10), attempt=2)
    assert bench.values == [[9], [1, 2], [4], [5, 6], [8], [10]]
    assert [(f.value["n"].to_list(), str(f.error), f.attempt) for f in bench.failures] == [
        ([-3], "negative among 1", 2),
        ([-7], "negative among 1", 2),
    ]
    assert bench.kinds() == ["", "", ""]
    bench.run.ledger.settle([bench.out[0].tokens[2]], DELIVERED)
    assert bench.kinds() == ["", "", ""]
    bench.finish()
    assert bench.kinds() == ["DELIVERED", "DEAD_LETTERED", "DELIVERED"]


@pytest.mark.parametrize("value", [pa.table({"n": [1, -1]}), pa.RecordBatch.from_pydict({"n": [1, -1]})])
def test_arrow_tables_are_halved_too(value: Any) -> None:
    bench = Bench(bisect(picky)).push(value)
    assert bench.values == [[1]]
    assert len(bench.failures) == 1
    bench.finish()


@pytest.mark.parametrize("value", [frame(-1), frame(), "no frame", [1, 2]])
def test_what_has_no_halves_fails_as_it_is(value: Any) -> None:
    def always(value: Any) -> None:
        raise ValueError("no")

    bench = Bench(bisect(always)).push(value)
    assert [failure.value is value for failure in bench.failures] == [True]
    bench.finish()


def test_the_letters_are_the_bad_rows() -> None:
    flow = memory.items([]) | map(lambda frame: frame.filter(pl.col("n") != 2)) | bisect(picky) | memory.into([])
    trial = Pipeline("p", flow).test([frame(1, 2, -3, 4, -5)])
    assert trial.values == [[1], [4]]
    letters = trial.dead_letters["p.dead"]
    assert [(each.value.rows(), each.metadata.headers["warren-row"]) for each in letters] == [([(-3,)], "2"), ([(-5,)], "4")]


def test_a_bad_row_is_tried_again_by_itself() -> None:
    calls: list[int] = []

    def busy(frame: pl.DataFrame) -> list[int]:
        calls.append(frame.height)
        if len(calls) < 5:
            return picky(frame)
        return list(frame["n"])

    flow = memory.items([]) | bisect(busy) | retry(constant("1s", attempts=2)) | memory.into([])
    trial = Pipeline("p", flow).test([frame(1, -2, 3, 4)])
    assert (trial.values, calls) == ([[1], [3, 4], [-2]], [4, 2, 1, 1, 2, 1])
    assert trial.outcomes == {"delivered": 1}


@pytest.mark.parametrize("seed", range(20))
def test_of_a_frame_of_many_messages_only_those_of_bad_rows_fail(seed: int) -> None:
    draw = random.Random(seed)
    numbers = [draw.choice([-1, 1]) * n if draw.random() < 0.2 else n for n in range(1, 60)]
    flow = memory.items([]) | frames(draw.choice([7, 20, 100])) | bisect(picky) | memory.into([])
    trial = Pipeline("p", flow).test([{"n": n} for n in numbers])
    assert [n for value in trial.values for n in value] == [n for n in numbers if n > 0]
    assert [letter.value["n"] for letter in trial.dead_letters.get("p.dead", [])] == [n for n in numbers if n < 0]


def test_a_frame_whose_rows_are_not_known_to_be_the_messages_fails_with_all_of_them() -> None:
    flow = memory.items([]) | frames(3) | map(lambda frame: frame.reverse()) | bisect(picky) | memory.into([])
    trial = Pipeline("p", flow).test([{"n": 1}, {"n": 2}, {"n": -3}])
    assert [letter.value["n"] for letter in trial.dead_letters["p.dead"]] == [1, 2, -3]
    flow = memory.items([]) | batch(2) | map(pl.concat) | bisect(picky) | memory.into([])
    assert len(Pipeline("p", flow).test([frame(1, 2), frame(-3)]).dead_letters["p.dead"]) == 2


def test_a_graph_that_cannot_work_is_refused() -> None:
    async def later(frame: pl.DataFrame) -> pl.DataFrame:
        return frame

    with pytest.raises(GraphError, match="give a function of one data frame"):
        bisect(3)  # type: ignore[arg-type]
    with pytest.raises(GraphError, match=r"must not be async; write explode\(\) \| map\(later\)"):
        bisect(later)
