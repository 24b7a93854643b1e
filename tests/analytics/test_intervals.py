from __future__ import annotations

from pathlib import Path

import pytest

from tests.analytics.feeding import NOW, Feed
from warren.analytics import Deviation, Flows, Recorder, incidents, measured
from warren.core.chunk import Failure
from warren.core.errors import GraphError
from warren.core.message import Batch
from warren.core.receipt import DELIVERED, Kind, Outcome


def record(folder: Path, minutes: int = 60) -> Flows:
    """Ten messages a minute that take half a second; in the 40th they are slow, many, large and half of them fail."""
    recorder = Recorder(folder)
    recorder.open("orders")
    feed = Feed(recorder)
    start = NOW - NOW % 60
    for minute in range(minutes):
        feed.now = start + 60 * minute
        if minute == 20:
            continue
        odd = minute == 40
        count = 80 if odd else 10 + minute % 3
        batch = Batch([b"x" * (900 if odd else 50 + minute % 2)] * count, range(count))
        tokens = feed.accept(batch).tokens
        feed.now += 30.0 if odd else 0.5 + minute % 2 / 10
        failed = tokens[: count // 2] if odd else tokens[:0]
        for token in failed:
            failure = Failure(token, b"", ValueError("a"), "1:map")
            feed.ledger.settle((token,), Outcome(Kind.DEAD_LETTERED, "orders.dead", failure))
        feed.ledger.settle(tokens[len(failed) :], DELIVERED)
        recorder.handled("1:map", count, count, 0, feed.now, feed.now, count, 500 if odd else 5 + minute % 2)
    recorder.close()
    return Flows(folder)


def test_every_span_has_a_row_and_what_was_not_seen_is_missing(tmp_path: Path) -> None:
    frame = measured(record(tmp_path, 30), "1m")
    assert frame.height == 30
    assert frame.row(0, named=True) | {
        "pipeline": "orders",
        "rate": 10.0,
        "latency": 500.0,
        "errors": 0.0,
        "size": 50.0,
        "depth": 5.0,
    } == frame.row(0, named=True)
    gap = frame.row(20, named=True)
    assert (gap["rate"], gap["latency"], gap["errors"], gap["size"], gap["depth"]) == (0, None, None, None, None)


def test_an_incident_has_one_row_for_each_measure_that_shows_it(tmp_path: Path) -> None:
    found = incidents(record(tmp_path), "1m", detector=Deviation(threshold=15))
    assert {row["measure"]: row["value"] for row in found.iter_rows(named=True) if row["value"]} == {
        "rate": 80.0,
        "latency": 30_000.0,
        "errors": 0.5,
        "size": 900.0,
        "depth": 500.0,
    }
    assert found["at"].n_unique() <= 2 and set(found["pipeline"]) == {"orders"}
    assert found.filter(measure="latency").height == 1


def test_measures_are_chosen_and_no_flows_have_no_incidents(tmp_path: Path) -> None:
    flows = record(tmp_path / "some")
    assert set(incidents(flows, detector=Deviation(threshold=15), measures=["size"])["measure"]) == {"size"}
    (tmp_path / "none").mkdir()
    assert incidents(Flows(tmp_path / "none")).is_empty()
    assert incidents(record(tmp_path / "one", 1)).is_empty()


def test_what_cannot_work_is_refused(tmp_path: Path) -> None:
    flows = record(tmp_path, 3)
    with pytest.raises(GraphError, match=r"incidents\(measures=\['rates'\]\): 'rates' is none of rate, latency"):
        incidents(flows, measures=["rates"])
    for every in ("often", 5):
        with pytest.raises(GraphError, match=r"every=.*: write a length such as '10s'"):
            incidents(flows, every)  # type: ignore[arg-type]
