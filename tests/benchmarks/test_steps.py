"""The soak and the growth of costs, with few messages."""

from pathlib import Path

import pytest

from benchmarks.steps import growth
from benchmarks.steps.soak import WARM, Look, Seen, main, soak

on_linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")


@on_linux
def test_a_short_soak_loses_nothing_and_keeps_a_small_file():
    seen = soak(100_000, 1_000)
    assert seen.lost == 0
    # Two windows of five values for each key at most, and what SQLite's log takes before it is folded in.
    assert seen.most(0.0, 1.0).file < 1_000 * 1_000 + 16_000_000


@on_linux
def test_the_soak_says_what_it_saw(capsys):
    main(["--messages", "2000", "--keys", "10"])
    out = capsys.readouterr().out
    assert "2,000 messages, 10 keys" in out
    assert "memory after the warm-up" in out
    assert "lost" not in out


@pytest.mark.parametrize(("last", "flat"), [(104, True), (106, False)])
def test_memory_that_grows_is_not_flat(last, flat):
    looks = [Look(WARM / 2, 500, 0), Look(0.3, 100, 0), Look(0.9, last, 0)]
    assert Seen(1, 1, 1.0, 0, looks).flat is flat


def test_growth_prints_each_point_and_draws_a_picture(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(growth, "SWEEPS", {"keys": [1, 10], "lateness": [5]})
    picture = tmp_path / "growth.svg"
    assert growth.main(["--messages", "100", "--plot", str(picture)]) == 0
    assert "<svg" in picture.read_text()
    assert capsys.readouterr().out.count("ns a message") == 3


def test_growth_counts_every_message():
    for what, values in growth.SWEEPS.items():
        assert growth.measure(what, values[-1], 50).cost > 0
