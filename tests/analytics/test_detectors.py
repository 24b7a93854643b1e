from __future__ import annotations

import copy
import math
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import polars as pl
import pytest

from tests.packages import Packages
from warren.analytics import Detector, detector, detector_names, load
from warren.core.errors import DataError, PluginError, StorageError, ValidationError

VALUES = [20 + 5 * math.sin(i / 9) + i % 3 for i in range(700)]
TIMES = [1e9 + 300.0 * i for i in range(len(VALUES))]
ODD = 400.0

each = pytest.mark.parametrize("name", detector_names())


def make(name: str) -> Detector:
    made: Detector = detector(name)()
    return made


def taught(name: str) -> Detector:
    made = make(name)
    made.learn_many(VALUES, TIMES)
    return made


@each
def test_an_odd_value_scores_above_the_threshold_and_usual_ones_below(name: str) -> None:
    made = make(name)
    scores = made.watch_many(VALUES, TIMES)
    assert scores.dtype == np.float64 and scores.shape == (len(VALUES),)
    assert (scores >= 0).all() and np.isfinite(scores).all()
    assert np.median(scores) < made.threshold < made.score_one(ODD, TIMES[-1] + 300)


@each
def test_what_has_learned_nothing_scores_nothing(name: str) -> None:
    assert make(name).score_one(5.0) == 0.0
    assert make(name).score_many([]).tolist() == make(name).watch_many([]).tolist() == []
    assert make(name).watch_many([5.0]).tolist() == [0.0]
    made = make(name)
    made.learn_many([])
    assert made.learned == 0


@each
def test_vectorised_forms_equal_loops(name: str) -> None:
    values, times = VALUES[:540], TIMES[:540]
    one, many, parts = make(name), make(name), make(name)
    expected = [one.watch_one(value, at) for value, at in zip(values, times, strict=True)]
    assert many.watch_many(values, times).tolist() == expected
    assert [*parts.watch_many(values[:100], times[:100]), *parts.watch_many(values[100:], times[100:])] == expected
    learned = make(name)
    learned.learn_many(values, times)
    assert one.fingerprint == many.fingerprint == parts.fingerprint == learned.fingerprint
    scored = [one.score_one(value, at) for value, at in zip(values[:20], times[:20], strict=True)]
    assert (
        many.score_many(values[:20], times[:20]).tolist() == learned.score_many(values[:20], times[:20]).tolist() == scored
    )


@each
def test_scoring_changes_nothing(name: str) -> None:
    made = taught(name)
    before = made.fingerprint, msgspec.msgpack.encode(made.state())
    made.score_many([ODD, None, 3.0])
    assert (made.fingerprint, msgspec.msgpack.encode(made.state())) == before


@each
def test_equal_detectors_that_learned_the_same_are_equal(name: str) -> None:
    a, b = taught(name), taught(name)
    assert a.fingerprint == b.fingerprint and a.score_one(33.3, TIMES[5]) == b.score_one(33.3, TIMES[5])
    a.learn_one(1.0)
    assert a.fingerprint != b.fingerprint


@each
@pytest.mark.parametrize("missing", [None, float("nan"), np.float64("nan")])
def test_a_missing_value_scores_nothing_and_teaches_nothing(name: str, missing: Any) -> None:
    made = taught(name)
    before = made.fingerprint
    assert made.watch_one(missing, TIMES[0]) == 0.0
    made.learn_one(missing)
    assert made.score_many([missing, ODD])[0] == 0.0
    assert made.fingerprint == before


@each
@pytest.mark.parametrize("wrong", ["12", b"1", [1.0], object(), float("inf"), -math.inf, 10**400, 1j])
def test_what_is_no_value_is_refused_with_a_sentence_and_changes_nothing(name: str, wrong: Any) -> None:
    made = taught(name)
    before = made.fingerprint
    for method in (made.check, made.score_one, made.learn_one, made.watch_one):
        with pytest.raises(ValidationError, match="give"):
            method(wrong)
    assert made.fingerprint == before


@each
def test_wrong_times_are_refused(name: str) -> None:
    made = taught(name)
    before = made.fingerprint
    for wrong in ("noon", float("nan"), float("inf"), [1]):
        for method in (made.check, made.score_one, made.learn_one, made.watch_one):
            with pytest.raises(ValidationError, match="is no time; give seconds since 1970"):
                method(5.0, wrong)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="there are 1 times for 2 values"):
        made.watch_many([1.0, 2.0], [0.0])
    with pytest.raises(ValidationError, match="is one value; give a list"):
        made.watch_many("12")
    assert made.fingerprint == before


@each
def test_arrays_series_and_all_kinds_of_times_give_the_same(name: str) -> None:
    values, times = VALUES[:540], TIMES[:540]
    expected = make(name).watch_many(values, times).tolist()
    aware = [datetime.fromtimestamp(at, UTC) for at in times]
    naive = [at.replace(tzinfo=None) for at in aware]
    stamps = np.array(naive, "datetime64[ns]")
    for columns in (
        (np.array(values), np.array(times)),
        (pl.Series(values), pl.Series(aware)),
        (iter(values), iter(naive)),
        (tuple(values), stamps),
        (values, list(stamps)),
    ):
        assert make(name).watch_many(*columns).tolist() == expected  # type: ignore[arg-type]


@each
def test_a_constant_series_is_usual_until_it_changes(name: str) -> None:
    made = make(name)
    assert made.watch_many([7.0] * 600).max() < made.threshold
    assert made.watch_many([0.1] * 600).shape == (600,)


@each
def test_gaps_jumps_of_the_clock_and_changes_of_summer_time_pass(name: str) -> None:
    made, zone = make(name), ZoneInfo("Europe/Berlin")
    start = datetime(2024, 10, 26, 12, tzinfo=zone)
    times: list[Any] = [start + timedelta(hours=i) for i in range(60)]
    times += [start - timedelta(days=9000)] * 20 + [start + timedelta(days=9000)] * 20 + [None] * 20 + [-1.0, 1e-9]
    scores = made.watch_many([float(i % 5) for i in range(len(times))], times)
    assert np.isfinite(scores).all()


@each
def test_huge_and_tiny_values_pass(name: str) -> None:
    made = make(name)
    with np.errstate(over="ignore", invalid="ignore"):
        scores = made.watch_many([1e300, -1e300, 5e-324, 0.0, -0.0, 1e16] * 100)
    assert np.isfinite(scores).all()


@each
def test_it_is_saved_and_loaded(name: str, tmp_path: Path) -> None:
    made = taught(name)
    made.save(tmp_path / "it")
    found = load(tmp_path / "it", made.fingerprint)
    assert type(found) is type(made) and repr(found) == repr(made)
    assert found.fingerprint == made.fingerprint
    more, times = VALUES[:540], [TIMES[-1] + 300 * i for i in range(540)]
    assert found.watch_many(more, times).tolist() == made.watch_many(more, times).tolist()
    assert found.fingerprint == made.fingerprint


@each
def test_other_data_another_version_and_damage_are_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, file = taught(name), tmp_path / "it"
    made.save(file)
    with pytest.raises(DataError, match=f"learned the data {made.fingerprint}, not 3-abc"):
        load(file, "3-abc")
    monkeypatch.setattr(type(made), "version", 99)
    with pytest.raises(DataError, match=r"it: this is version 1 of .* version 99 is expected; learn from the data anew"):
        load(file)
    whole = file.read_bytes()
    for content in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:40], whole[:-9]):
        file.write_bytes(content)
        with pytest.raises(StorageError, match="is damaged"):
            load(file)
    file.write_bytes(b"")
    with pytest.raises(DataError, match="holds no model of warren's"):
        load(file)
    with pytest.raises(StorageError, match="cannot be read"):
        load(tmp_path / "nothing")
    with pytest.raises(StorageError, match="cannot be written"):
        made.save(tmp_path / "nowhere" / "it")


@each
def test_copies_and_pickles_go_on_alone(name: str) -> None:
    made = taught(name)
    for twin in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):  # noqa: S301  # made here
        before = made.fingerprint
        assert twin.score_one(ODD, TIMES[3]) == made.score_one(ODD, TIMES[3])
        twin.learn_one(ODD)
        assert made.fingerprint == before != twin.fingerprint
    assert made.fresh().learned == 0 and repr(made.fresh()) == repr(made)


def test_a_detector_of_another_package_is_found_by_its_name(packages: Packages) -> None:
    packages.add("weather", {"detector storm": "weather_storm:Storm"}, weather_storm="class Storm: level = 7")
    assert detector("storm").level == 7
    assert "storm" in detector_names()
    with pytest.raises(PluginError, match="there is no detector 'calm'; known are deviation, novelty, outliers, storm"):
        detector("calm")


def test_one_that_a_function_makes_is_saved_beside_one_that_does_not_load(packages: Packages, tmp_path: Path) -> None:
    text = "from warren.analytics import Deviation\nclass Calm(Deviation): pass\ndef calm(): return Calm(window=30)\n"
    packages.add(
        "weather", {"detector calm": "weather_calm:calm", "detector bad": "weather_nowhere:Storm"}, weather_calm=text
    )
    made = detector("calm")()
    made.learn_many(VALUES)
    made.save(tmp_path / "it")
    assert repr(load(tmp_path / "it", made.fingerprint)) == "Calm(window=30, threshold=6.0)"
    detector("novelty")().save(tmp_path / "own")


def test_one_that_does_not_load_says_why(packages: Packages) -> None:
    packages.add("weather", {"detector storm": "weather_nowhere:Storm"})
    with pytest.raises(PluginError, match=r"the detector 'storm' of weather 1.0 does not load: ModuleNotFoundError"):
        detector("storm")
