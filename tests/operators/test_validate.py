from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, TypedDict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench
from warren import Pipeline, constant
from warren.connectors import memory
from warren.core.errors import GraphError, HandlerError, ValidationError
from warren.operators import batch, map, retry
from warren.operators.validate import validate

pydantic = pytest.importorskip("pydantic")


class Order(msgspec.Struct):
    id: Annotated[int, msgspec.Meta(ge=0)]
    note: str = ""
    at: dt.datetime | None = None


@dataclass
class Plain:
    id: int


class Typed(TypedDict):
    id: int


class Model(pydantic.BaseModel):
    id: int


class Record(NamedTuple):
    id: int


def test_nothing_comes_of_nothing() -> None:
    assert Bench(validate(Order)).push().finish().out == []


@pytest.mark.parametrize("schema", [Order, Plain, Model, Typed])
def test_values_go_on_as_the_type(schema: Any) -> None:
    bench = Bench(validate(schema)).push({"id": 1}, {"id": 2}, attempt=2)
    assert bench.values == ([{"id": 1}, {"id": 2}] if schema is Typed else [schema(id=1), schema(id=2)])
    assert bench.out[0].attempt == 2
    bench.finish()


@pytest.mark.parametrize("schema", [Order, Plain, Model, Typed])
def test_what_does_not_fit_fails_alone_and_the_field_is_named(schema: Any) -> None:
    bench = Bench(validate(schema)).push({"id": 1}, {"id": "x"}, {"id": 2}, {}, 7, attempt=2)
    assert len(bench.values) == 2
    assert [(f.value, f.attempt, type(f.error)) for f in bench.failures] == [
        (value, 2, ValidationError) for value in ({"id": "x"}, {}, 7)
    ]
    assert f"validate({schema.__name__}): " in bench.errors[0]
    assert "`$.id`; the value is {'id': 'x'}" in bench.errors[0]
    assert "id`" in bench.errors[1]
    assert bench.failures[0].error.__cause__ is not None
    bench.finish()


def test_records_are_read_anew() -> None:
    wrong = Order(-1)
    late = Order(3, at=dt.datetime(2024, 1, 1, tzinfo=dt.UTC))
    bench = Bench(validate(Order)).push(Order(1), wrong, Plain(2), late, {"id": 4}, Model(id=5))
    assert bench.values == [Order(1), Order(2), late, Order(4), Order(5)]
    assert "Expected `int` >= 0 - at `$.id`" in bench.errors[0]
    bench.finish()


def test_builtin_types_and_unions() -> None:
    assert Bench(validate(int)).push(1, "x", 2).finish().values == [1, 2]
    assert Bench(validate(int | str)).push(1, "x", None).finish().values == [1, "x"]
    assert validate(int | str).name == "validate(int | str)"
    assert Bench(validate(list[int])).push([1], ["x"]).finish().values == [[1]]


def positive(value: int) -> Any:
    if value == 13:
        raise ValueError("thirteen in `$.n`")
    return value > 0


def test_a_function_raises_or_says_no() -> None:
    bench = Bench(validate(positive)).push(1, -1, 13, 2)
    assert bench.values == [1, 2]
    assert {type(f.error) for f in bench.failures} == {ValidationError}
    assert bench.errors == [
        "validate(positive): the value does not pass; it is -1",
        "validate(positive): thirteen in `$.n`; the value is 13",
    ]
    bench.finish()
    assert Bench(validate(lambda value: None)).push(1).finish().values == [1]


def test_an_answer_of_the_wrong_kind_is_refused_with_the_remedy() -> None:
    async def later() -> None: ...

    answers: list[Any] = [5, later()]
    bench = Bench(validate(lambda i: answers[i])).push(0, 1)
    assert {type(f.error) for f in bench.failures} == {HandlerError}
    assert "the function answered 5; it must raise, or answer True or False. To change values, use map" in bench.errors[0]
    bench.finish()


def renamed(value: dict[str, Any]) -> dict[str, Any]:
    return {"id": value["number"], "v": 2}


def noted(value: dict[str, Any]) -> dict[str, Any]:
    return {**value, "note": "new", "v": 3}


UPCAST: dict[int, Any] = {1: renamed, 2: noted}


@pytest.mark.parametrize("version", ["v", lambda value: value.get("v")])
def test_older_versions_are_brought_up_to_date(version: Any) -> None:
    bench = Bench(validate(Order, version=version, upcast=UPCAST))
    bench.push({"number": 1}, {"v": 1, "number": 2}, {"v": 2, "id": 3}, {"v": 3, "id": 4, "note": "own"})
    assert bench.values == [Order(1, "new"), Order(2, "new"), Order(3, "new"), Order(4, "own")]
    bench.finish()


def test_what_cannot_be_brought_up_to_date_fails_as_it_came() -> None:
    values: list[Any] = [{"v": 1}, {"v": 4}, {"v": 0}, {"v": "2"}, {"v": 2, "id": -5}, {"v": 2, "id": 6}]
    bench = Bench(validate(Order, version="v", upcast=UPCAST)).push(*values, attempt=3)
    assert bench.values == [Order(6, "new")]
    assert [(f.value, f.attempt, type(f.error)) for f in bench.failures] == [(v, 3, ValidationError) for v in values[:5]]
    errors = bench.errors
    assert "renamed cannot make version 2 of version 1: KeyError: 'number'; the value is {'v': 1}" in errors[0]
    assert "of version 4, and only 1 to 3 are known; add to upcast=" in errors[1]
    assert "of version 0" in errors[2]
    assert "the version '2' is no whole number" in errors[3]
    assert "`$.id`" in errors[4]
    bench.finish()


def test_all_fail_while_being_brought_up_to_date() -> None:
    bench = Bench(validate(Order, version="v", upcast=UPCAST)).push({"v": 9})
    assert (bench.values, len(bench.failures)) == ([], 1)
    bench.finish()


def test_an_upcast_must_answer_with_a_value() -> None:
    async def later() -> None: ...

    answers: Any = iter([None, later()])
    bench = Bench(validate(Order, version="v", upcast={1: lambda value: next(answers)})).push({}, {})
    assert {type(f.error) for f in bench.failures} == {HandlerError}
    assert "answered nothing; it must answer with the value as version 2" in bench.errors[0]
    assert "answered with a coroutine" in bench.errors[1]
    bench.finish()


def test_the_version_of_a_record_is_an_attribute() -> None:
    class Old(msgspec.Struct):
        number: int
        v: int = 1

    bench = Bench(validate(Order, version="v", upcast={1: lambda old: {"id": old.number}})).push(Old(1), Record(2))
    assert bench.values == [Order(1)]
    bench.finish()


@given(st.lists(st.lists(st.one_of(st.integers(-3, 3), st.text(max_size=2)), max_size=6), max_size=6))
def test_it_equals_a_loop(chunks: list[list[Any]]) -> None:
    bench = Bench(validate(Order))
    for chunk in chunks:
        bench.push(*({"id": each} for each in chunk))
    everything = [each for chunk in chunks for each in chunk]
    assert [order.id for order in bench.values] == [e for e in everything if isinstance(e, int) and e >= 0]
    assert len(bench.failures) == len(everything) - len(bench.values)
    bench.finish()


def test_in_a_pipeline_what_fails_is_a_dead_letter_that_no_retry_takes() -> None:
    flow = memory.items([]) | map(lambda x: 6 // x["id"]) | map(lambda x: {"id": x}) | validate(Order) | batch(2)
    result = Pipeline("p", flow | retry(constant("1s")) | memory.into([])).test([{"id": 0}, {"id": 2}, {"id": -1}])
    assert result.values == [[Order(3)]]
    letters = result.dead_letters["p.dead"]
    assert sorted(letter.error for letter in letters) == ["ValidationError", "ZeroDivisionError"]
    assert result.outcomes == {"delivered": 1, "dead-lettered": 2}


def test_what_cannot_work_is_refused() -> None:
    async def later(value: int) -> bool:
        return True

    for arguments, says in [
        ({"schema": object()}, "nothing can be read as|give a type"),
        ({"schema": later}, "validate: later must not be async"),
        ({"schema": Order, "version": "v"}, r"validate\(Order, version=\.\.\.\): give upcast= as well"),
        ({"schema": Order, "upcast": UPCAST}, r"validate\(Order, upcast=\.\.\.\): give version= as well"),
        ({"schema": Order, "version": "v", "upcast": {}}, "give a function for each older version"),
        ({"schema": Order, "version": "v", "upcast": {"1": renamed}}, "give a function for each older version"),
        (
            {"schema": Order, "version": "v", "upcast": {1: renamed, 3: noted}},
            "what makes version 3 of version 2 is missing",
        ),
        ({"schema": Order, "version": "v", "upcast": {1: 5}}, "give a function of one value that makes the next"),
        (
            {"schema": Order, "version": 5, "upcast": UPCAST},
            r"validate\(Order, version=\.\.\.\): 5 is not a function; give the name of a field",
        ),
    ]:
        with pytest.raises(GraphError, match=says):
            validate(**arguments)
