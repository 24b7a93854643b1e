"""The metrics of the forecasting benchmark, on numbers worked out by hand, and its command line."""

import json

import numpy as np
import pytest

from benchmarks.m4_hourly import HORIZON, main, naive2, read, score


def test_naive2_of_a_pure_season_is_the_season():
    season = 10 + np.arange(24.0)
    np.testing.assert_allclose(naive2(np.tile(season, 20)), np.tile(season, 2))


def test_naive2_of_what_has_no_season_is_the_last_value():
    noise = np.random.default_rng(2).normal(100, 1, 480)
    np.testing.assert_allclose(naive2(noise), noise[-1])
    np.testing.assert_allclose(naive2(np.full(480, 5.0)), 5.0)


def test_the_metrics_are_those_of_the_competition():
    history = np.repeat([10.0, 12.0], 24)  # a day before differs by 2
    actual, told = np.full((1, HORIZON), 20.0), np.full((1, HORIZON), 30.0)
    found = score([history], actual, told, np.full((1, HORIZON), 22.0), np.full((1, HORIZON), 34.0))
    assert found.smape == pytest.approx(200 * 10 / 50)
    assert found.mase == pytest.approx(10 / 2)
    assert found.msis == pytest.approx((12 + 40 * 2) / 2)
    assert found.coverage == 0
    assert score([history], actual, told).msis is None


def test_it_runs_on_made_up_series_and_writes_rows(tmp_path, capsys):
    draw = np.random.default_rng(1)
    hours = np.arange(960)
    lines = ['"V1"']
    for each in range(3):
        values = 50 + 20 * np.sin(hours * np.pi / 12) + draw.normal(0, 1, 960)
        lines.append(f'"H{each}",' + ",".join(map(str, values[: 960 - 200 * each])) + ',""' * (200 * each))
    (tmp_path / "Hourly-train.csv").write_text("\n".join(lines))
    assert {len(values) for values in read(tmp_path / "Hourly-train.csv").values()} == {960, 760, 560}
    code = main(
        [
            "--data",
            str(tmp_path),
            "--method",
            "profile",
            "--method",
            "seasonal naive",
            "--json",
            str(tmp_path / "out.json"),
            "--origins",
            "2",
        ]
    )
    assert code == 0
    rows = json.loads((tmp_path / "out.json").read_text())
    assert [(row["origin"], row["subject"]) for row in rows][:3] == [
        ("1", "Naive2"),
        ("1", "profile"),
        ("1", "seasonal naive"),
    ]
    assert all(row["owa"] < 2 for row in rows)
    assert "published" in capsys.readouterr().out


def test_without_the_data_it_says_where_to_put_them(tmp_path):
    with pytest.raises(SystemExit, match=r"Hourly-train.csv is not there: download the M4 data set"):
        main(["--data", str(tmp_path)])
