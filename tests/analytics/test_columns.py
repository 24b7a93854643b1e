from __future__ import annotations

import contextlib
import datetime as dt
import tempfile

import polars as pl
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.analytics.feeding import NOW, Feed
from warren.analytics import Flows, Recorder, columns
from warren.analytics.columns import Arrival, key_hash
from warren.core.chunk import Failure
from warren.core.errors import fingerprint
from warren.core.message import TENANT, TRACE, Batch
from warren.core.receipt import DELIVERED, FILTERED, Kind, Ledger, Outcome

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def raised(message: str) -> Exception:
    try:
        raise ValueError(message)
    except ValueError as error:
        return error


def failed(token: int, error: Exception) -> Outcome:
    return Outcome(Kind.DEAD_LETTERED, "orders.dead", Failure(token, b"", error, "2:map"))


def column(count: int, values: st.SearchStrategy[object]) -> st.SearchStrategy[list[object] | None]:
    return st.none() | st.lists(values, min_size=count, max_size=count)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    count = draw(st.sampled_from([1, 2, 3, 7, 100]))
    headers = st.none() | st.fixed_dictionaries({}, optional={TENANT: st.sampled_from("ab"), TRACE: st.just(TRACEPARENT)})
    bodies = st.binary(max_size=9) | st.integers() | st.text(max_size=3)
    return Batch(
        bodies=draw(st.lists(draw(st.sampled_from([bodies, st.binary(max_size=9)])), min_size=count, max_size=count)),
        handles=range(count),
        keys=draw(column(count, st.none() | st.text("xyzé", max_size=2))),  # type: ignore[arg-type]
        headers=draw(column(count, headers)),  # type: ignore[arg-type]
        enqueued=draw(column(count, st.sampled_from([0.0, NOW - 1.5, NOW - 0.000001]))),  # type: ignore[arg-type]
        attempts=draw(column(count, st.integers(1, 5))),  # type: ignore[arg-type]
    )


def check(feed: Feed, frame: pl.DataFrame) -> None:
    rows = frame.with_columns(pl.col("enqueued", "received", "settled").dt.epoch("us")).to_dicts()
    assert len(rows) == len(feed.expected)
    for row, expected in zip(rows, feed.expected, strict=True):
        key = expected.pop("key")
        for name in ("enqueued", "received", "settled"):
            expected[name] = None if expected[name] is None else round(expected[name] * 1e6)
        assert {name: row[name] for name in expected} == expected
        assert row["key_hash"] == (None if key is None else key_hash(key))
        assert row["pipeline"] == "p" and row["source"] == "orders"
        assert (row["fingerprint"] is None) == (row["error"] is None)


@settings(max_examples=60)
@given(st.data())
def test_rows_equal_what_was_fed(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ending:
        recorder = Recorder(folder, roll_rows=data.draw(st.sampled_from([1, 50, 10**6])), backlog=10**6)
        ending.callback(recorder.close)
        recorder.open("p")
        feed = Feed(recorder)
        deliveries = [feed.accept(data.draw(batches())) for _ in range(data.draw(st.integers(1, 4)))]
        outcomes = [DELIVERED, FILTERED, Outcome(Kind.DELIVERED, "eu"), Outcome(Kind.PARKED), failed(0, raised("x"))]
        for _ in range(data.draw(st.integers(0, 8))):
            feed.now += 0.25
            delivery = data.draw(st.sampled_from(deliveries))
            left = list(delivery.unsettled)
            if not left:
                continue
            for token in data.draw(st.lists(st.sampled_from(left), max_size=2)):
                feed.ledger.count_retry(token)
            outcome = data.draw(st.sampled_from(outcomes))
            how = data.draw(st.sampled_from(["whole", "range", "stepped", "list"]))
            if how == "whole":
                feed.ledger.settle(delivery.tokens, outcome)
            elif how == "list":
                feed.ledger.settle(data.draw(st.lists(st.sampled_from(left), unique=True, min_size=1)), outcome)
            else:
                start = data.draw(st.integers(0, len(delivery.tokens) - 1))
                feed.ledger.settle(delivery.tokens[start :: 2 if how == "stepped" else 1], outcome)
            if data.draw(st.booleans()):
                recorder.flush()
        feed.ledger.release_all()
        recorder.close()
        assert recorder.problem is None
        check(feed, Flows(folder).trips.collect())


def test_bytes_between_other_values_keep_their_sizes() -> None:
    ledger = Ledger(lambda delivery, tokens, outcome: None)
    batch = columns.trips([(Arrival(ledger.accept("s", Batch([b"a", 5, b"ccc"], range(3)), NOW)), range(3), DELIVERED, NOW)])
    assert batch["size"].to_pylist() == [1, None, 3]


def test_times_are_exact_to_the_microsecond() -> None:
    ledger = Ledger(lambda delivery, tokens, outcome: None)
    arrival = Arrival(ledger.accept("s", Batch([b"a"], [0]), 1_700_000_000.123456))
    settled = columns.trips([(arrival, range(1), DELIVERED, 1_700_000_001.654321)])["settled"][0].as_py()
    assert settled == dt.datetime.fromtimestamp(1_700_000_001, dt.UTC).replace(microsecond=654321)


def test_odd_headers_and_texts_are_recorded_as_text() -> None:
    ledger = Ledger(lambda delivery, tokens, outcome: None)
    headers = [{TENANT: 7, TRACE: 12}, {TENANT: "\ud800"}, {TRACE: "short"}]
    delivery = ledger.accept("s", Batch([1, 2, 3], range(3), headers=headers, keys=["\ud800", 8, None]), NOW)  # type: ignore[list-item, arg-type]
    batch = columns.trips([(Arrival(delivery), delivery.tokens, DELIVERED, NOW)])
    assert batch["tenant"].to_pylist() == ["7", "?", None]
    assert batch["trace"].to_pylist() == [None, None, None]
    assert batch["key_hash"].to_pylist()[2] is None


def test_fingerprints_are_those_of_the_errors() -> None:
    ledger = Ledger(lambda delivery, tokens, outcome: None)
    errors = [raised("a"), raised("b"), KeyError("never raised")]
    delivery = ledger.accept("s", Batch([1, 2, 3], range(3)), NOW)
    arrival = Arrival(delivery)
    segments = [(arrival, (token,), failed(token, errors[token]), NOW) for token in range(3)]
    assert columns.trips(segments)["fingerprint"].to_pylist() == [fingerprint(error) for error in errors]


def test_stages_keep_their_numbers() -> None:
    batch = columns.stages([("1:map", 3, 2, 1, NOW, NOW + 0.5, 9, None), ("2:batch", 2, 0, 0, NOW, NOW, 9, 40)])
    assert isinstance(batch, pa.RecordBatch)
    rows = batch.to_pylist()
    shown = [rows[0][name] for name in ("stage", "taken", "given", "failed", "credit", "depth")]
    assert shown == ["1:map", 3, 2, 1, 9, None]
    assert rows[1]["depth"] == 40 and (rows[0]["end"] - rows[0]["start"]).total_seconds() == 0.5


def test_a_source_is_named_by_its_inlet() -> None:
    class Inlet:
        name = "queue(orders)"

    class Reader:
        inlet = Inlet()

    ledger = Ledger(lambda delivery, tokens, outcome: None)
    arrivals = [Arrival(ledger.accept(source, Batch([1], [0]), NOW)) for source in (Reader(), object())]
    batch = columns.trips([(arrival, (arrival.base,), DELIVERED, NOW) for arrival in arrivals])
    assert batch["source"].to_pylist() == ["queue(orders)", "object"]
