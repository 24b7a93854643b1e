"""Figures that windows keep in place of their values: the same rows, and a value that cannot be added fails alone."""

from __future__ import annotations

from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench
from tests.operators.kept import KeptBench, Rows
from warren import Pipeline
from warren.connectors import memory
from warren.core.frozen import thaw_key
from warren.core.graph import Operator
from warren.operators import (
    aggregate,
    collect,
    count,
    custom,
    distinct_count,
    first,
    hopping,
    largest,
    last,
    mean,
    quantile,
    session,
    smallest,
    tap,
    top,
    total,
    tumbling,
    variance,
    window,
)
from warren.operators.aggregations import Aggregation
from warren.operators.figures import Accumulator, Figures

KINDS: dict[str, Any] = {
    "tumbling": tumbling(10),
    "hopping": hopping(10, 5),
    "session": session(4),
    "count": count(3),
    "count every": count(3, every=2),
}
Event = tuple[str, int, int]


def number(event: Event) -> int:
    return event[2]


def figures(**ordered: Any) -> Operator[Any, Any]:
    return aggregate(
        n=count(),
        sum=total(number),
        mean=mean(number),
        least=smallest(number),
        most=largest(number),
        **ordered,
        few=distinct_count(number, error=0.01),
        median=quantile(0.5, number, error=0.01),
        product=custom(1, lambda product, event: product * (event[2] + 7), lambda a, b: a * b),
    )


ORDERED = {"first": first(number), "last": last(number), "top": top(2, number)}
"""What goes by the order of values, which in windows that overlap or join depends on what came in one chunk."""


def windows(kind: str, **options: Any) -> Operator[Any, Any]:
    if not kind.startswith("count"):
        options["time"] = lambda event: event[1]
    return window(KINDS[kind], by=lambda event: event[0], **options)


def apart(kind: str, behind: Operator[Any, Any], **options: Any) -> Operator[Any, Any]:
    """The same steps, which know nothing of each other."""
    return windows(kind, **options) | tap(lambda window: None) | behind


def keeps(step: Operator[Any, Any]) -> bool:
    return "keeps figures in place of values" in step.steps[0].guarantee


def chunked(bench: Bench, events: list[Any], chance: Random) -> list[dict[str, Any]]:
    rest = list(events)
    while rest:
        size = chance.randint(1, 8)
        bench.push(*rest[:size])
        del rest[:size]
    return bench.finish().values


EVENTS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(-30, 30), st.integers(-5, 5)), max_size=40)


@pytest.mark.parametrize("kind", KINDS)
@given(EVENTS, st.randoms(use_true_random=False))
def test_the_rows_are_those_of_all_values(kind: str, events: list[Event], chance: Random) -> None:
    options = {} if kind.startswith("count") else {"lateness": 60}
    assert keeps(windows(kind, **options) | figures(**ORDERED))
    seed = chance.random()
    kept = chunked(Bench(windows(kind, **options) | figures(**ORDERED)), events, Random(seed))
    assert kept == chunked(Bench(apart(kind, figures(**ORDERED), **options)), events, Random(seed))


@given(EVENTS, st.randoms(use_true_random=False))
def test_the_rows_are_those_of_polars(events: list[Event], chance: Random) -> None:
    behind = aggregate(n=count(), sum=total(number), least=smallest(number), first=first(number), spread=variance(number))
    rows = chunked(Bench(windows("tumbling", lateness=60) | behind), events, chance)
    frame = pl.DataFrame(events, schema={"key": str, "t": pl.Int64, "x": pl.Int64}, orient="row")
    frame = frame.with_columns(start=(pl.col("t") // 10 * 10).cast(pl.Float64))
    x = pl.col("x")
    expected = frame.group_by("key", "start").agg(n=pl.len(), sum=x.sum(), least=x.min(), first=x.first(), spread=x.var())
    found = {(row["key"], row["start"]): row for row in rows}
    assert len(found) == len(rows) == expected.height
    for row in expected.iter_rows(named=True):
        mine = found[row["key"], row["start"]]
        spread = row.pop("spread")
        assert mine.pop("spread") == (None if spread is None else pytest.approx(spread))
        assert mine == {**row, "end": row["start"] + 10}


@pytest.mark.parametrize(
    "behind",
    [
        aggregate(all=collect()),
        aggregate(n=count(), median=quantile(0.5, number)),
        aggregate(n=distinct_count()),
        aggregate(n=pl.len()),
    ],
)
def test_where_all_values_are_needed_they_are_kept(behind: Operator[Any, Any]) -> None:
    assert not keeps(windows("tumbling") | behind)


def test_what_cannot_be_joined_is_not_kept_in_sessions() -> None:
    product = aggregate(p=custom(1, lambda state, event: state * event[2]))
    assert keeps(windows("tumbling") | product)
    assert not keeps(windows("session") | product)


def test_windows_and_figures_find_each_other_however_they_are_composed() -> None:
    source, sink = memory.items([]), memory.into([])
    step, behind = windows("tumbling"), aggregate(n=count())
    for flow in (source | step | behind | sink, source | (step | behind) | sink, source | step | (behind | sink)):
        assert "keeps figures in place of values" in Pipeline("p", flow).explain()
    assert "keeps figures" not in Pipeline("p", source | step | sink).explain()
    assert not keeps(step)


ROWS = [("a", 1, 1), ("a", 2, "x"), ("a", 3, 2)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at_once", [True, False])
def test_a_value_that_cannot_be_added_fails_alone(kind: str, at_once: bool) -> None:
    bench = Bench(windows(kind) | aggregate(n=count(), sum=total(number)))
    if at_once:
        bench.push(*ROWS)
    else:
        for row in ROWS:
            bench.push(row)
    bench.finish()
    assert [failure.value for failure in bench.failures] == [("a", 2, "x")]
    assert {(row["n"], row["sum"]) for row in bench.values} <= {(2, 3), (1, 2)}
    assert bench.kinds() == ["DELIVERED", "DEAD_LETTERED", "DELIVERED"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_that_cannot_be_added_opens_no_window_and_joins_none(kind: str) -> None:
    bench = Bench(windows(kind) | aggregate(sum=total(number))).push(("a", 0, "x"), ("b", 0, 1)).push(("b", 3, "y")).finish()
    assert {(row["key"], row["sum"]) for row in bench.values} == {("b", 1)}
    assert len(bench.failures) == 2
    bench = Bench(windows("session") | aggregate(n=count(), sum=total(number)))
    bench.push(("a", 0, 1), ("a", 3, "x"), ("a", 6, 1)).finish()
    assert [(row["start"], row["end"], row["n"]) for row in bench.values] == [(0, 4, 1), (6, 10, 1)]


def test_a_value_that_does_not_go_with_those_before_fails_alone() -> None:
    bench = Bench(windows("hopping") | aggregate(least=smallest(number), n=count()))
    bench.push(("a", 3, 5)).push(("a", 7, "x"), ("a", 7, 4)).finish()
    assert [(row["start"], row["least"], row["n"]) for row in bench.values] == [(-5, 5, 1), (0, 4, 2), (5, 4, 1)]
    assert [failure.value[2] for failure in bench.failures] == ["x"]


def test_a_function_that_raises_fails_its_value_before_it_is_in_a_window() -> None:
    bench = Bench(windows("tumbling") | aggregate(sum=total(lambda event: 1 // event[2]), n=count()))
    bench.push(("a", 1, 1), ("a", 2, 0), ("a", 3, 1)).push(("a", 4, 0)).finish()
    assert [(row["sum"], row["n"]) for row in bench.values] == [(2, 2)]
    assert [failure.value[1] for failure in bench.failures] == [2, 4]


def test_sessions_that_cannot_be_joined_stay_as_they_are() -> None:
    def refuse(a: int, b: int) -> int:
        raise ValueError("no")

    bench = Bench(windows("session", lateness=60) | aggregate(n=custom(0, lambda n, _: n + 1, refuse)))
    bench.push(("a", 0, 1), ("a", 6, 1)).push(("a", 3, 1)).finish()
    assert [(row["start"], row["n"]) for row in bench.values] == [(0, 1), (6, 1)]
    assert bench.errors == ["no"]


def test_late_values_are_in_no_figure() -> None:
    bench = Bench(windows("tumbling", late="drop") | aggregate(n=count(), sum=total(number)))
    bench.push(("a", 1, 1), ("a", 12, 1)).push(("a", 3, 1), ("a", 13, "x"), ("a", 14, 1)).finish()
    assert [(row["start"], row["n"]) for row in bench.values] == [(0, 1), (10, 2)]
    assert bench.kinds() == ["DELIVERED", "DELIVERED", "FILTERED", "DEAD_LETTERED", "DELIVERED"]


@pytest.mark.parametrize("kind", KINDS)
@given(EVENTS, st.randoms(use_true_random=False))
def test_with_state_the_rows_are_the_same_over_any_number_of_runs(kind: str, events: list[Event], chance: Random) -> None:
    options = {} if kind.startswith("count") else {"lateness": 60}
    rows: Rows = {}
    rest, out = [*events, *([] if kind.startswith("count") else [("end", 1_000, 0)])], []
    whole = KeptBench(windows(kind, **options) | figures(), {}).push(*rest).values
    while rest:
        size = chance.randint(1, 9)
        bench = KeptBench(windows(kind, **options) | figures(), rows).push(*rest[:size])
        assert bench.kinds() == ["DELIVERED"] * len(rest[:size])
        out += bench.deliver().checkpoint().values
        del rest[:size]
    key = lambda row: (row["end"], row["key"], row["start"])  # noqa: E731
    assert sorted(out, key=key) == sorted(whole, key=key)


def test_with_state_a_window_is_one_row_of_figures() -> None:
    rows: Rows = {}
    bench = KeptBench(windows("tumbling") | aggregate(n=count(), sum=total(number)), rows)
    for i in range(50):
        bench.push(("a", 1, i)).checkpoint()
    assert {(thaw_key(key), part) for key, part in rows} == {(1, 0), ("watermark", 0)}
    assert sum(map(len, rows.values())) < 200


def test_with_state_a_value_that_failed_is_not_counted() -> None:
    rows: Rows = {}
    bench = KeptBench(windows("tumbling") | aggregate(sum=total(number)), rows).push(*ROWS)
    assert bench.kinds() == ["DELIVERED", "", "DELIVERED"]
    assert [failure.value for failure in bench.failures] == [("a", 2, "x")]


def test_a_figure_that_cannot_be_made_fails_the_window() -> None:
    def refuse(state: int) -> int:
        raise ValueError("no such figure")

    bench = Bench(windows("tumbling") | aggregate(n=Aggregation(0, lambda state, column: state + len(column), refuse)))
    bench.push(("a", 1, 1), ("a", 2, 1)).finish()
    assert bench.errors == ["no such figure"]
    assert bench.kinds() == ["DEAD_LETTERED"] * 2


def test_values_are_added_to_all_figures_or_to_none() -> None:
    kept = Accumulator(Figures({"n": count(), "sum": total()}))
    kept.take([1, "x", 2], [])
    (states,), places = kept.add([[]], [0, 1, 2])
    assert (states, places, list(kept.errors)) == ([2, 3], [0, 2], [1])
    assert kept.add([states, []], [2]) == ([[3, 5], [1, 2]], [2])
