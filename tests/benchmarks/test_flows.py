"""The benchmark of large recordings, with few rows: what it generates is a recording of a day, and it is summarised."""

import re
from pathlib import Path

import polars as pl
import pytest

from benchmarks import flows
from warren.analytics import Flows


def test_a_summary_of_many_rows_takes_little(capsys):
    assert flows.main(["--rows", "200_000"]) == 0
    assert re.search(
        r"summary of 200,000 trips: [\d.]+ s \([\d.]+ s of the processors\), 0\.\d\d GB", capsys.readouterr().out
    )


def test_what_is_generated_repeats_what_was_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "FILE", 50_000)
    flows.generate(tmp_path, 110_000)
    real, made = Flows(tmp_path / "demo" / "flow"), Flows(tmp_path / "flows")
    summary = made.summary()
    assert summary["messages"].sum() == 110_000
    assert set(summary["route"]) == set(real.summary()["route"])
    took = (pl.col("settled") - pl.col("received")).dt.total_microseconds()
    one, many = real.trips.select(took).collect(), made.trips.select(took).head(20_000).collect()
    assert sorted(one["settled"]) == sorted(many["settled"])
    span = made.trips.select(pl.col("settled").min().alias("first"), pl.col("settled").max().alias("last")).collect()
    assert (span["last"] - span["first"]).dt.total_hours().item() == 23
