import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench
from warren.core.errors import GraphError, HandlerError
from warren.operators.aggregate import aggregate
from warren.operators.aggregations import (
    collect,
    count,
    custom,
    largest,
    last,
    mean,
    quantile,
    smallest,
    total,
)
from warren.operators.window import tumbling, window


def key(event: tuple[Any, Any]) -> Any:
    return event[0]


def amount(event: tuple[Any, Any]) -> Any:
    return event[1]


EVERYTHING: dict[str, Any] = {
    "n": count(),
    "sum": total(amount),
    "mean": mean(amount),
    "low": smallest(amount),
    "high": largest(amount),
    "median": quantile(0.5, amount),
    "all": collect(amount),
    "product": custom(1, lambda product, event: product * event[1]),
}


def expected(events: list[tuple[str, int]]) -> dict[str, Any]:
    x = [amount for _, amount in events]
    product = 1
    for each in x:
        product *= each
    return {
        "n": len(x), "sum": sum(x), "mean": sum(x) / len(x), "low": min(x), "high": max(x),
        "median": statistics.median(x), "all": x, "product": product,
    }  # fmt: skip


def test_a_window_becomes_a_row() -> None:
    bench = Bench(window(tumbling(10), time=amount, by=key) | aggregate(**EVERYTHING))
    bench.push(("a", 1), ("a", 4), ("b", 2)).finish()
    assert bench.values == [
        {"key": "a", "start": 0.0, "end": 10.0, **expected([("a", 1), ("a", 4)])},
        {"key": "b", "start": 0.0, "end": 10.0, **expected([("b", 2)])},
    ]


def test_what_is_no_window_fails() -> None:
    bench = Bench(aggregate(n=count())).push(5)
    assert isinstance(bench.failures[0].error, HandlerError)
    assert "got 5, which is not a window; put window(...) before it, or give by=" in bench.errors[0]
    bench.finish()


@given(st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-9, 9)), min_size=1, max_size=9), max_size=9))
def test_running_figures_equal_the_batch_computation(chunks: list[list[tuple[str, int]]]) -> None:
    bench, single = Bench(aggregate(by=key, **EVERYTHING)), Bench(aggregate(by=key, sum=total(amount)))
    seen: list[tuple[str, int]] = []
    rows: list[dict[str, Any]] = []
    for chunk in chunks:
        seen += chunk
        bench.push(*chunk)
        single.push(*chunk)
        touched = dict.fromkeys(k for k, _ in chunk)
        rows += [{"key": k, **expected([e for e in seen if e[0] == k])} for k in touched]
    assert bench.values == rows
    assert single.values == [{"key": row["key"], "sum": row["sum"]} for row in rows]
    bench.finish()
    single.finish()


@pytest.mark.parametrize("figures", [{"sum": total(amount)}, {"n": count(), "sum": total(amount)}])
def test_what_cannot_be_added_fails_alone_and_is_not_counted(figures: dict[str, Any]) -> None:
    bench = Bench(aggregate(by=key, **figures))
    bench.push(("a", 1), ("a", "x"), ([], 1), ("b", None), ("a", 2), 7, ("c", 3), attempt=2)
    assert sorted(bench.pushed.index(f.token) for f in bench.failures) == [1, 2, 3, 5]  # type: ignore[arg-type]
    assert {f.attempt for f in bench.failures} == {2}
    assert [(row["key"], row["sum"]) for row in bench.values] == [("a", 3), ("c", 3)]
    assert bench.values[0].get("n", 2) == 2
    bench.push(("b", 5))
    assert bench.values[-1]["sum"] == 5
    bench.finish()


def test_nothing_comes_of_a_chunk_that_fails_whole() -> None:
    bench = Bench(aggregate(by=key, n=count())).push(1, 2)
    assert (bench.values, len(bench.failures)) == ([], 2)
    bench.finish()


def test_values_themselves_unless_told() -> None:
    bench = Bench(aggregate(by=lambda x: x % 2, sum=total())).push(1, 2, 3)
    assert bench.values == [{"key": 1, "sum": 4}, {"key": 0, "sum": 2}]
    bench.finish()


def test_a_figure_that_cannot_be_made_fails_its_message_and_is_not_counted() -> None:
    bench = Bench(aggregate(by=len, m=quantile(0.5))).push("ab").push("cd").finish()
    assert [row["m"] for row in bench.values] == ["ab"]
    assert isinstance(bench.failures[0].error, TypeError)


def test_what_cannot_work_is_refused() -> None:
    for arguments, says in [
        ({}, "at least one figure"),
        ({"key": count()}, "choose another name"),
        ({"n": count}, r"write n=count\(\)"),
        ({"by": 3, "n": count()}, "gives its key"),
    ]:
        with pytest.raises(GraphError, match=says):
            aggregate(**arguments)  # type: ignore[arg-type]


async def _later(value: int) -> int:
    return value


def at_once_but_three(value: int) -> Any:
    return _later(value) if value == 3 else value


@pytest.mark.parametrize(
    ("figures", "says"),
    [
        ({"by": at_once_but_three, "n": count()}, "by= answered with a coroutine for 3; it must not be async"),
        ({"by": at_once_but_three, "sum": total()}, "by= answered with a coroutine for 3; it must not be async"),
        ({"by": lambda n: [] if n == 3 else n, "n": count()}, "by= answered [] for 3, which cannot be a key; answer with"),
        (
            {"by": str, "sum": total(at_once_but_three)},
            "the answer for 3 is a coroutine; give a function that answers at once",
        ),
        ({"by": str, "n": count(), "last": last(at_once_but_three)}, "the answer for 3 is a coroutine; give a function"),
        ({"by": str, "all": collect(at_once_but_three)}, "the answer for 3 is a coroutine; give a function"),
        (
            {"by": str, "made": custom(0, lambda state, value: at_once_but_three(value))},
            "custom(…): the answer is a coroutine; give a function that answers at once",
        ),
    ],
)
def test_what_is_no_key_or_figure_fails_its_message_with_place_and_remedy(figures: dict[str, Any], says: str) -> None:
    bench = Bench(aggregate(**figures)).push(1, 2, 3).push(4, 3).finish()
    assert len(bench.values) == 3
    assert [failure.value for failure in bench.failures] == [3, 3]
    assert all(says in error for error in bench.errors)


def test_a_window_of_which_a_figure_is_no_figure_fails() -> None:
    bench = Bench(window(tumbling(10), time=float) | aggregate(all=collect(at_once_but_three)))
    bench.push(1, 2, 3, 13, 14).finish()
    assert [row["all"] for row in bench.values] == [[13, 14]]
    assert "the answer for 3 is a coroutine" in bench.errors[0]


@pytest.mark.parametrize("make", [lambda: total(_later), lambda: custom(0, _later), lambda: custom(0, max, _later)])
def test_async_functions_are_refused(make: Any) -> None:
    with pytest.raises(GraphError, match="_later must not be async; look things up with map first"):
        make()
