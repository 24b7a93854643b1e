"""The rules of the Numenta Anomaly Benchmark, on series small enough to reckon by hand."""

import json
import subprocess
import sys
from datetime import datetime, timedelta

import numpy as np
import pytest

from benchmarks.anomalies.scoring import PROFILES, Series, best, read, total
from benchmarks.harness import ROOT

STANDARD, LOW_FP, LOW_FN = PROFILES


def series(rows=1000, windows=((400, 499),)):
    return Series("one/a.csv", [datetime(2024, 1, 1) + timedelta(minutes=i) for i in range(rows)], [0.0] * rows, windows)


def scored(profile, *alarms, threshold=0.5):
    scores = np.zeros(1000)
    scores[list(alarms)] = 1.0
    return total([series()], [scores], profile, threshold).points if alarms else best([series()], [scores], profile).points


def test_no_alarm_is_nothing_and_the_first_row_of_a_window_is_all():
    assert scored(STANDARD) == 0
    assert scored(STANDARD, 400) == pytest.approx(2)
    assert scored(LOW_FN, 400) == pytest.approx(3)


def test_the_best_alarm_of_a_window_counts_once_and_later_ones_less():
    assert scored(STANDARD, 480, 499) == scored(STANDARD, 480) < scored(STANDARD, 450)


def test_false_alarms_cost_little_behind_a_window_and_all_of_it_far_away():
    assert scored(STANDARD, 300) == scored(STANDARD, 990) == -0.11
    assert scored(LOW_FP, 300) == -0.22
    assert -0.05 < scored(STANDARD, 505) < 0


def test_the_first_rows_count_nothing():
    assert scored(STANDARD, 149) == 0 > scored(STANDARD, 150)


def test_one_threshold_is_chosen_for_all():
    scores = np.zeros(1000)
    scores[[300, 401]] = 0.4, 0.6
    chosen = best([series()], [scores], STANDARD)
    assert chosen.threshold == 0.6 and 99 < chosen.score < 100


def test_a_folder_is_read_and_scored(tmp_path):
    (tmp_path / "data" / "one").mkdir(parents=True)
    (tmp_path / "labels").mkdir()
    rows = [(datetime(2024, 1, 1) + timedelta(minutes=5 * i), 900 if i == 800 else i % 7) for i in range(1000)]
    text = "".join(f"{at},{value}\n" for at, value in rows)
    (tmp_path / "data" / "one" / "a.csv").write_text("timestamp,value\n" + text)
    span = [f"{rows[i][0]}.000000" for i in (780, 820)]
    (tmp_path / "labels" / "combined_windows.json").write_text(json.dumps({"one/a.csv": [span]}))
    assert read(tmp_path)[0].windows == [(780, 820)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.nab", "--data", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "1 series" in done.stdout and "warren" in done.stdout


def test_a_folder_without_labels_is_a_sentence(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.nab", "--data", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "there is no labels/combined_windows.json in it" in done.stderr
