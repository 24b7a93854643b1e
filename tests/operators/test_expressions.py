from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench
from warren import Pipeline
from warren.connectors import memory
from warren.operators.aggregate import aggregate
from warren.operators.aggregations import count, distinct_count, last, smallest, total, variance
from warren.operators.expressions import of_frame
from warren.operators.window import tumbling, window


class Sale(msgspec.Struct):
    shop: str
    price: float | None


SALES = [Sale("a", 3.0), Sale("b", 1.0), Sale("a", 5.0), Sale("a", None)]
FIGURES: dict[str, Any] = {
    "mean": pl.col("price").mean(),
    "n": count(),
    "missing": pl.col("price").null_count(),
    "shops": pl.col("shop").unique(maintain_order=True).implode(),
}


def shop(sale: Sale) -> str:
    return sale.shop


def test_expressions_are_computed_over_a_frame_of_the_values() -> None:
    bench = Bench(window(tumbling(10), time=lambda sale: 1) | aggregate(**FIGURES)).push(*SALES).finish()
    assert bench.values == [{"key": None, "start": 0.0, "end": 10.0, "mean": 3.0, "n": 4, "missing": 1, "shops": ["a", "b"]}]
    assert list(bench.values[0])[3:] == list(FIGURES)


def test_expressions_as_running_figures_see_all_that_came() -> None:
    bench = Bench(aggregate(by=shop, **FIGURES)).push(*SALES[:2]).push(*SALES[2:])
    assert bench.values == [
        {"key": "a", "mean": 3.0, "n": 1, "missing": 0, "shops": ["a"]},
        {"key": "b", "mean": 1.0, "n": 1, "missing": 0, "shops": ["b"]},
        {"key": "a", "mean": 4.0, "n": 3, "missing": 1, "shops": ["a"]},
    ]
    bench.finish()


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(-9, 9)), min_size=1))
def test_expressions_agree_with_the_aggregations_of_the_same_name(events: list[tuple[str, int]]) -> None:
    sales = [Sale(name, float(price)) for name, price in events]

    def price(sale: Sale) -> Any:
        return sale.price

    c = pl.col("price")
    pairs: dict[str, Any] = {
        "sum": (total(price), c.sum()),
        "low": (smallest(price), c.min()),
        "last": (last(price), c.last()),
    }
    pairs |= {"var": (variance(price), c.var()), "distinct": (distinct_count(price), c.n_unique())}
    ours = Bench(aggregate(by=shop, **{name: pair[0] for name, pair in pairs.items()})).push(*sales).finish()
    theirs = Bench(aggregate(by=shop, **{name: pair[1] for name, pair in pairs.items()})).push(*sales).finish()
    assert [row["key"] for row in ours.values] == [row["key"] for row in theirs.values]
    for mine, other in zip(ours.values, theirs.values, strict=True):
        assert {k: v for k, v in mine.items() if k != "var"} == {k: v for k, v in other.items() if k != "var"}
        assert mine["var"] == pytest.approx(other["var"])


def test_an_expression_makes_one_figure_of_many() -> None:
    bench = Bench(window(tumbling(10), time=lambda sale: 1) | aggregate(n=count(), prices=pl.col("price") * 2))
    bench.push(*SALES).finish()
    assert "the expression for prices gave 4 of 4 values; it must make one figure of them, as .mean()" in bench.errors[0]


def test_a_figure_that_cannot_be_made_fails_its_message_and_is_not_counted() -> None:
    bench = Bench(aggregate(by=lambda v: 0, n=count(), mean=pl.col("price").mean()))
    bench.push(SALES[0], 5, SALES[1], attempt=2)
    assert [(row["n"], row["mean"]) for row in bench.values] == [(2, 2.0)]
    assert [(failure.value, failure.attempt) for failure in bench.failures] == [(5, 2)]
    bench.push(SALES[2])
    assert bench.values[-1]["n"] == 3
    bench.finish()


def test_expressions_in_a_whole_pipeline() -> None:
    flow = memory.items([]) | window(tumbling("1m"), time=lambda sale: 1, by=shop) | aggregate(**FIGURES) | memory.into([])
    rows = Pipeline("p", flow).test(SALES).values
    assert [(row["key"], row["mean"], row["n"]) for row in rows] == [("a", 4.0, 3), ("b", 1.0, 1)]


def test_two_groups_joined_are_as_one() -> None:
    figure = of_frame({"mean": pl.col("price").mean()})
    assert figure.merge is not None
    a, b = figure.fold(figure.initial, SALES[:1]), figure.fold(figure.initial, SALES[1:])
    assert figure.merge(a, b) == SALES
    assert figure.result(figure.merge(a, b)) == {"mean": 3.0}
    assert (figure.initial, a) == ([], SALES[:1])
    assert pickle.loads(pickle.dumps(b)) == b  # noqa: S301  it was made here


def test_polars_is_not_imported_by_those_who_do_not_use_it() -> None:
    code = "import sys; from warren.operators import aggregate, count; aggregate(n=count()); print('polars' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
