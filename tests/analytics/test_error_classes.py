"""Failures are grouped by what they say, and each class says what to do about it."""

import random
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sklearn.metrics import adjusted_rand_score

from tests.analytics.said import SAID, said
from warren import Pipeline
from warren.analytics import AdaptiveBackoff, Flows, Recorder
from warren.analytics.errors import ErrorClasses
from warren.analytics.masking import _PATTERN, _mark, masked, template
from warren.connectors import memory
from warren.core.errors import GraphError
from warren.operators import constant, map, retry


def grouped(failures: list[tuple[str, str, str]], alike: float = 0.5) -> float:
    classes = ErrorClasses(alike)
    for _, type, text in failures:
        classes.add(type, text)
    return float(
        adjusted_rand_score([name for name, _, _ in failures], classes.labels((type, text) for _, type, text in failures))
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("alike", [0.45, 0.5, 0.6])
def test_messages_of_eighteen_classes_are_grouped_well_on_either_side_of_the_usual_setting(alike: float, seed: int) -> None:
    failures = list(said(16, seed))
    assert len(failures) == 288
    assert grouped(failures, alike) > 0.95


def test_one_message_of_each_wording_is_enough() -> None:
    assert grouped(list(said(2))) > 0.9


def test_words_alone_suggest_what_to_do() -> None:
    classes = ErrorClasses()
    failures = list(said(16))
    for _, type, text in failures:
        classes.add(type, text)
    table = classes.table()
    expected = {
        label: SAID[name][0]
        for label, (name, _, _) in zip(classes.labels((t, x) for _, t, x in failures), failures, strict=True)
    }
    right = sum(row["suggestion"] == expected[row["class"]] for row in table.iter_rows(named=True))
    assert right >= table.height - 1
    assert table["messages"].sum() == len(failures)


def suggestion(type: str, text: str, **what: Any) -> tuple[str, str]:
    classes = ErrorClasses()
    classes.add(type, text, **what)
    [row] = classes.table().iter_rows(named=True)
    return row["suggestion"], row["reason"]


def test_what_became_of_retries_counts_more_than_words() -> None:
    text = "the gateway said: connection refused"
    assert suggestion("OSError", text) == ("transient", "never tried again; it reads as transient")
    assert suggestion("OSError", text, retried=3, messages=20)[0] == "permanent"
    assert suggestion("ValueError", "invalid token", retried=1, recovered=True, messages=20) == (
        "transient",
        "20 of 20 retries helped; it reads as poison",
    )
    assert suggestion("ValueError", "invalid token", retried=3, messages=20)[0] == "poison"
    assert suggestion("Oddity", "bang") == ("transient", "never tried again; its words say nothing")
    assert suggestion("Oddity", "bang", retried=3, messages=20)[0] == "poison"


def test_the_curve_tells_after_which_delays_retries_helped() -> None:
    classes = ErrorClasses()
    for delay, recovered in [(0.5, False)] * 3 + [(0.6, True)] + [(5, True)] * 4 + [(float("nan"), True)]:
        classes.add("TimeoutError", "no answer", retried=1, recovered=recovered, delay=delay)
    assert classes.curve(0).rows() == [(0.5, 4, 1, 0.25), (4.0, 4, 4, 1.0)]
    with pytest.raises(GraphError, match="there are 1 classes"):
        classes.curve(1)


def failing(value: int) -> int:
    if value % 3 == 0:
        raise ValueError(f"order {value} has no customer")
    if value % 3 == 1:
        raise ConnectionRefusedError(f"[Errno 111] Connection refused: 10.0.0.{value}:5432")
    return value


def test_dead_letters_are_read_by_their_headers_and_flows_by_fingerprint(tmp_path: Path) -> None:
    flow = Pipeline("p", memory.items([]) | map(failing) | retry(constant(0, attempts=2)) | memory.into([]))
    result = flow.observed(Recorder(tmp_path)).test(range(30))
    classes = ErrorClasses()
    classes.add_letters(letter.metadata.headers for letter in result.dead_letters["p.dead"])
    alone = classes.table()
    assert sorted(alone.select("messages", "retried", "stage").rows()) == [
        (10, 10, "1:map(failing)"),
        (10, 10, "1:map(failing)"),
    ]
    assert all(len(each) == 1 for each in alone["fingerprints"])
    assert alone["last"].null_count() == 0

    classes.add_flows(Flows(tmp_path))
    both = classes.table()
    assert both["messages"].to_list() == [20, 20] and sorted(both["example"]) == sorted(alone["example"])


def test_flows_tell_by_their_traces_that_a_parked_message_recovered(tmp_path: Path) -> None:
    class Trips(Flows):
        @property
        def trips(self) -> pl.LazyFrame:
            def at(second: int) -> datetime:
                return datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)

            rows = [
                ("t1", "parked", "TimeoutError", 1, at(0), at(1)),
                ("t1", "delivered", None, 2, at(9), at(10)),
                ("t2", "parked", "TimeoutError", 1, at(0), at(2)),
                ("t2", "dead-lettered", "TimeoutError", 2, at(10), at(11)),
                (None, "dead-lettered", "TimeoutError", 3, at(3), at(4)),
            ]
            names = ["trace", "outcome", "error", "attempts", "received", "settled"]
            frame = pl.DataFrame(rows, names, orient="row")
            constants = {"pipeline": "p", "source": "q", "fingerprint": "f", "stage": "ask"}
            return frame.lazy().with_columns(
                pl.col("received", "settled").cast(pl.Datetime("us", "UTC")),
                *(pl.lit(value).alias(name) for name, value in constants.items()),
            )

    classes = ErrorClasses()
    classes.add_flows(Trips(tmp_path))
    [row] = classes.table().iter_rows(named=True)
    # One was parked and recovered, one was parked in vain and then had one retry more, one had two.
    assert (row["messages"], row["retried"], row["recovered"]) == (4, 5, 1)
    assert classes.curve(0).rows() == [(8.0, 2, 1, 0.5)]


def test_a_folder_without_flows_and_odd_headers_do_no_harm(tmp_path: Path) -> None:
    classes = ErrorClasses()
    classes.add_flows(Flows(tmp_path))
    assert classes.table().height == 0
    classes.add_letters([{}, {"warren-attempts": "many", "warren-last-failed": "soon"}])
    classes.add("", "", at=float("nan"), retried=-3, delay=float("inf"))
    assert classes.table().select("messages", "retried", "first").rows() == [(3, 0, None)]


def test_grouping_is_the_same_each_time() -> None:
    def table() -> Any:
        classes = ErrorClasses()
        for _, type, text in said(8):
            classes.add(type, text)
        return classes.table()

    assert table().equals(table())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("order 17 of 'Ann O.' not found", "order <n> of <text> not found"),
        ("request 123e4567-e89b-12d3-a456-426614174000 failed", "request <id> failed"),
        ("GET https://api.example.com/v1/x?y=1 gave status 503", "GET <url> gave status 503"),
        ("db-3.eu.internal:5432 refused, [Errno 111]", "<host> refused, [Errno 111]"),
        ("at 2026-01-02T03:04:05.123Z after 1.5s", "at <time> after <n>"),
        ("can't open /var/lib/x/y.csv", "can't open <path>"),
        ("", ""),
    ],
)
def test_what_differs_is_masked_and_codes_stay(text: str, expected: str) -> None:
    assert masked(text) == expected


def test_long_texts_are_cut_and_whatever_is_in_them_is_read_quickly() -> None:
    assert len(masked("x" * 10_000_000)) == 300
    for text in ("a." * 50_000, "/" * 100_000, "1" * 100_000, "'" * 100_001, "a-" * 50_000, "::" * 50_000, "x@" * 50_000):
        assert len(masked(text)) <= 300
    assert template(KeyError("id")) == "KeyError: <text>"


@pytest.mark.parametrize(
    "text", ["order {} of host 10.0.{}.7:{} took {} s", "\u017ftatus {}", "CODE={}", "'{} Bad Gateway'", "x{}-{}"]
)
def test_texts_of_other_numbers_are_looked_at_once_but_for_codes(text: str) -> None:
    draw = random.Random(1)
    for _ in range(20):
        one = text.format(*(draw.randrange(100, 1000) for _ in range(4)))
        assert masked(one) == _PATTERN.sub(_mark, one)


def test_a_similarity_that_is_none_and_a_missing_library_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GraphError, match="above 0 and below 1"):
        ErrorClasses(1.0)
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    classes = ErrorClasses()
    classes.add("A", "one")
    classes.add("A", "two")
    with pytest.raises(GraphError, match=r"warren\[ml\]"):
        classes.table()


def test_without_similarity_each_template_is_a_class() -> None:
    classes = ErrorClasses(alike=None)
    for i in range(3):
        classes.add("OSError", f"connect to 10.0.0.{i}:5432 timed out after {i} s")
        classes.add("OSError", f"connect to 10.0.0.{i}:5432 timed out after {i} seconds")
    assert classes.table()["name"].to_list() == [
        "OSError: connect to <host> timed out after <n> s",
        "OSError: connect to <host> timed out after <n> seconds",
    ]


def test_decisions_of_retries_that_learn_make_its_curve(tmp_path: Path) -> None:
    seen: set[int] = set()

    def ask(n: int) -> int:
        if n % 4 == 3 or n not in seen:
            seen.add(n)
            raise TimeoutError(f"no answer to {n}")
        return n

    policy = AdaptiveBackoff("1ms", attempts=2, usual=constant("3s", attempts=2))
    flow = memory.items([]) | map(ask) | retry(policy) | memory.into([])
    Pipeline("asked", flow, observers=[Recorder(tmp_path)]).test(range(8))
    classes = ErrorClasses()
    classes.add_decisions(Flows(tmp_path))
    assert classes.curve(0).rows() == [(2.0, 8, 6, 0.75)]
    assert classes.table().select("name", "messages", "retried", "recovered", "suggestion").rows() == [
        ("TimeoutError: no answer to <n>", 0, 8, 6, "transient")
    ]
