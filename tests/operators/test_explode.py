from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from decimal import Decimal
from typing import Any, TypedDict

import msgspec
import polars as pl
import pyarrow as pa
import pydantic
import pytest

from tests.operators.fake import Bench
from warren import Pipeline, constant
from warren.connectors import memory
from warren.core.codecs import ARROW, decoder, encode
from warren.core.errors import DecodeError, GraphError, HandlerError
from warren.core.message import Outgoing
from warren.core.receipt import DELIVERED
from warren.operators import batch, explode, filter, flat_map, map, retry

FRAME = pl.DataFrame({"id": ["a", "b", "c"], "n": [1, 0, 3]})


class Row(msgspec.Struct):
    id: str
    n: int


@dataclasses.dataclass
class Line:
    id: str
    n: float


class Entry(TypedDict):
    id: str


class Model(pydantic.BaseModel):
    n: int


def test_rows_go_on_in_order() -> None:
    bench = Bench(explode()).push(FRAME, FRAME[:1], attempt=2)
    assert [row["id"] for row in bench.values] == ["a", "b", "c", "a"]
    assert bench.out[0].attempt == 2
    bench.finish()


def test_a_message_is_settled_with_the_last_of_its_rows() -> None:
    bench = Bench(explode()).push(FRAME, FRAME[:0])
    assert bench.kinds() == ["", "FILTERED"]
    first, second, third = bench.out[0].tokens
    bench.run.ledger.settle([third, first], DELIVERED)
    assert bench.kinds()[0] == ""
    bench.run.ledger.settle([second], DELIVERED)
    assert bench.kinds()[0] == "DELIVERED"


@pytest.mark.parametrize(
    ("type", "first"),
    [
        (None, {"id": "a", "n": 1}),
        (Row, Row("a", 1)),
        (Line, Line("a", 1.0)),
        (Entry, {"id": "a"}),
        (Model, Model(n=1)),
        (dict[str, Any], {"id": "a", "n": 1}),
    ],
)
def test_a_row_becomes_what_the_type_says(type: Any, first: Any) -> None:
    assert Bench(explode(type)).push(FRAME).finish().values[0] == first


def test_every_kind_of_column_arrives_as_python_values() -> None:
    class Wide(msgspec.Struct):
        at: dt.datetime
        day: dt.date
        price: Decimal
        raw: bytes
        tags: list[str]
        inner: Row | None
        kind: str

    row = {
        "at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        "day": dt.date(2026, 1, 1),
        "price": Decimal("1.50"),
        "raw": b"\xff",
        "tags": ["x"],
        "inner": {"id": "a", "n": 1},
    }
    frame = pl.DataFrame([row]).with_columns(kind=pl.lit("k").cast(pl.Categorical))
    assert Bench(explode(Wide)).push(frame).values == [Wide(**{**row, "inner": Row("a", 1), "kind": "k"})]  # type: ignore[arg-type]


@pytest.mark.parametrize("frame", [FRAME.to_arrow(), pa.RecordBatch.from_pydict({"id": ["a"], "n": [1]})])
def test_arrow_tables_have_rows_too(frame: Any) -> None:
    assert Bench(explode(Row)).push(frame).finish().values[0] == Row("a", 1)


def test_a_row_that_does_not_fit_fails_alone() -> None:
    bench = Bench(explode(Row)).push(pl.DataFrame({"id": ["a", None, "c"], "n": [1, 2, 3]}))
    assert bench.values == [Row("a", 1), Row("c", 3)]
    (failure,) = bench.failures
    assert isinstance(failure.error, DecodeError)
    assert bench.errors[0].startswith("explode(Row): row 1 of a frame cannot be read: Expected `str`, got `null`")
    assert "the row is {'id': None, 'n': 2}" in bench.errors[0]
    assert failure.value.rows() == [(None, 2)]
    bench.finish()


@pytest.mark.parametrize("value", [[1], {"a": 1}, None, b"x"])
def test_what_is_no_frame_is_refused(value: Any) -> None:
    bench = Bench(explode()).push(value, FRAME)
    assert len(bench.values) == 3
    assert isinstance(bench.failures[0].error, HandlerError)
    assert f"got {value!r}, which is no data frame; give the source type=polars.DataFrame" in bench.errors[0]
    bench.finish()


def test_a_type_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(GraphError, match="nothing can be read as"):
        explode(list[Row] | list[Line])


def letters(*steps: Any, given: Any = FRAME, **options: Any) -> list[tuple[Any, str | None, str]]:
    flow: Any = memory.items([])
    for step in (*steps, memory.into([])):
        flow |= step
    trial = Pipeline("p", flow, **options).test([given])
    dead = trial.dead_letters.get("p.dead", [])
    return [(letter.value.rows(), letter.metadata.headers.get("warren-row"), letter.metadata.id) for letter in dead]


def test_the_letter_of_a_row_is_that_row_alone() -> None:
    assert letters(explode(Row), map(lambda row: 1 / row.n)) == [([("b", 0)], "1", "0/1")]
    assert letters(explode(Row), map(lambda row: row.x)) == [
        ([("a", 1)], "0", "0/0"),
        ([("b", 0)], "1", "0/1"),
        ([("c", 3)], "2", "0/2"),
    ]


def test_the_letter_is_the_row_as_the_message_has_it() -> None:
    steps = map(lambda frame: frame.filter(pl.col("n") < 3).with_columns(more=1)), explode()
    assert letters(*steps, map(lambda row: 1 / row["n"])) == [([("b", 0)], "1", "0/1")]


def test_rows_that_the_message_does_not_have_leave_the_whole_message() -> None:
    steps = map(lambda frame: frame.with_columns(pl.col("n") + 10)), explode()
    assert letters(*steps, map(lambda row: 1 / (row["n"] - 10))) == [(FRAME.rows(), None, "0")]


def test_a_message_of_one_row_is_its_own_letter() -> None:
    assert letters(explode(), map(lambda row: row.x), given=FRAME[:1]) == [([("a", 1)], None, "0")]


def test_rows_of_one_message_that_fail_together_share_a_letter() -> None:
    steps = explode(Row), filter(lambda row: row.n), batch(2), map(lambda rows: rows.x)
    assert letters(*steps) == [([("a", 1), ("c", 3)], "0,2", "0/0")]


def test_what_a_row_is_split_into_fails_as_that_row() -> None:
    assert letters(explode(Row), flat_map(lambda row: [row.n, 0]), map(lambda n: 1 / n)) == [
        ([("a", 1)], "0", "0/0"),
        ([("b", 0)], "1", "0/1"),
        ([("c", 3)], "2", "0/2"),
    ]


def test_one_row_is_tried_again_by_itself() -> None:
    seen: list[str] = []

    def ask(row: Row) -> str:
        seen.append(row.id)
        if row.id == "b" and seen.count("b") < 3:
            raise ConnectionError("busy")
        return row.id

    flow = memory.items([]) | explode(Row) | map(ask) | retry(constant("1s", attempts=3)) | memory.into([])
    trial = Pipeline("p", flow).test([FRAME])
    assert (sorted(trial.values), seen) == (["a", "b", "c"], ["a", "b", "c", "b", "b"])
    assert trial.outcomes == {"delivered": 1}


def test_the_attempts_of_a_letter_are_those_of_its_row() -> None:
    flow = memory.items([]) | explode() | map(lambda row: row["x"]) | retry(constant("1s", attempts=3)) | memory.into([])
    dead = Pipeline("p", flow).test([FRAME]).dead_letters["p.dead"]
    assert [letter.metadata.headers["warren-attempts"] for letter in dead] == ["3", "3", "3"]


def test_a_letter_goes_through_the_same_pipeline_again() -> None:
    broker, out = memory.Broker(), list[float]()
    source = memory.queue("in", pl.DataFrame, broker=broker)
    flow = source | explode(Row) | map(lambda row: 6 / (row.n + fix)) | memory.into(out)
    fix = 0
    table = FRAME.to_arrow(compat_level=pl.CompatLevel.oldest())
    Pipeline("send", memory.items([table]) | memory.queue("in", broker=broker, headers=lambda _: {"day": "1"})).run()
    Pipeline("p", flow).run(until_empty=True)
    assert out == [6.0, 2.0]

    seen: list[tuple[Any, Any]] = []

    async def replay() -> None:
        dead, back = await memory.queue("p.dead", broker=broker).open(), await source.open()
        read = await dead.receive(10)
        assert read is not None
        metadata = read.metadata(0)
        seen.append((decoder(Any, metadata.content_type)(read.bodies[0]).rows(), metadata.headers))
        await back.write(Outgoing(read.bodies, read.metadata))
        await dead.acknowledge(read.handles)

    asyncio.run(replay())
    rows, headers = seen[0]
    assert rows == [("b", 0)]
    assert (headers["day"], headers["warren-row"], headers["warren-error"]) == ("1", "1", "ZeroDivisionError")
    fix = 2
    Pipeline("p", flow).run(until_empty=True)
    assert out == [6.0, 2.0, 3.0]


def test_bytes_that_a_step_decodes_leave_the_whole_message() -> None:
    flow = memory.items([]) | map(decoder(pl.DataFrame, ARROW)) | explode() | map(lambda row: 1 / row["n"]) | memory.into([])
    trial = Pipeline("p", flow).test([encode(FRAME)[0]])
    assert [letter.value for letter in trial.dead_letters["p.dead"]] == [encode(FRAME)[0]]


def test_the_credit_counts_messages_and_not_rows() -> None:
    assert Pipeline("p", memory.items([]) | explode() | batch(10_000) | memory.into([]), credit=4).credit == 4
    with pytest.raises(GraphError, match="give credit=5 or more"):
        Pipeline("p", memory.items([]) | batch(5) | map(pl.concat) | explode() | batch(10_000) | memory.into([]), credit=4)


def test_a_queue_of_frames_has_few_of_them_in_flight() -> None:
    frames, structs = memory.queue("a", pl.DataFrame), memory.queue("a", Row)
    assert Pipeline("p", frames | explode() | memory.into([])).credit == 128
    assert Pipeline("p", structs | memory.into([])).credit > 1000
