"""The harness, with tiny subjects in this process."""

import json
from contextlib import contextmanager

import pytest

from benchmarks import harness
from benchmarks.harness import Bar, Benchmark, Case, Mark, Subject, main


def fails(size):
    raise ValueError("out of paper")


BARS = (Bar("echo", "rival", 2.0),)


def a_benchmark(*extra, better="higher", bars=BARS):
    subjects = [Subject("warren", lambda size: 3 * size), Subject("rival", lambda size: size), *extra]
    other = Case("other", "s", [Subject("warren", lambda size: 1.0)], size=10)
    return Benchmark("fake", [Case("echo", "messages/s", subjects, 100, 50, better), other], bars, isolate=False)


def test_table_shows_the_median_and_the_ratio(capsys):
    assert main(a_benchmark(), ["--case", "echo"]) == 0
    out, err = capsys.readouterr()
    assert "300" in out
    assert "3.00x" in out
    assert "PASS  echo: 3.00x rival, at least 2x" in out
    assert "100 per round" in err
    assert "other" not in out


def test_subjects_run_in_turn_after_a_warm_up():
    calls = []

    def noting(name):
        return lambda size: calls.append((name, size)) or 1.0

    case = Case("turns", "s", [Subject("warren", noting("a")), Subject("slow", noting("b"), share=0.5)], size=100)
    main(Benchmark("fake", [case], isolate=False), ["--rounds", "2"])
    assert calls == [("a", 10), ("a", 100), ("b", 5), ("b", 50)] * 2


def test_json_rows(tmp_path, capsys):
    path = tmp_path / "rows.json"
    main(a_benchmark(), ["--json", str(path), "--quick"])
    rows = json.loads(path.read_text())
    assert rows[0] == {
        "benchmark": "fake",
        "case": "echo",
        "subject": "warren",
        "value": 150.0,
        "unit": "messages/s",
        "better": "higher",
    }
    assert [(row["case"], row["subject"]) for row in rows] == [
        ("echo", "warren"),
        ("echo", "rival"),
        ("other", "warren"),
    ]


def test_an_unknown_case_lists_the_cases(capsys):
    with pytest.raises(SystemExit) as caught:
        main(a_benchmark(), ["--case", "ecko"])
    assert caught.value.code == 2
    assert "'ecko' (choose from " in capsys.readouterr().err


def test_a_json_file_in_a_missing_folder_is_refused_before_anything_runs(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main(a_benchmark(), ["--json", str(tmp_path / "absent" / "rows.json")])
    assert caught.value.code == 2
    assert "does not exist" in capsys.readouterr().err


def test_a_missing_rival_is_a_note(tmp_path, capsys):
    path = tmp_path / "rows.json"
    absent = Subject("absent", lambda size: 1.0, needs="no_such_package")
    assert main(a_benchmark(absent), ["--case", "echo", "--json", str(path)]) == 0
    assert "absent: no_such_package is not installed: pip install 'warren[bench]'" in capsys.readouterr().out
    assert [row["subject"] for row in json.loads(path.read_text())] == ["warren", "rival"]


def test_a_failing_rival_is_a_note_and_a_failing_warren_exits_with_1(capsys):
    assert main(a_benchmark(Subject("broken", fails)), ["--case", "echo"]) == 0
    assert "broken: ValueError: out of paper" in capsys.readouterr().out
    case = Case("echo", "s", [Subject("warren", fails)], size=1)
    assert main(Benchmark("fake", [case], isolate=False), []) == 1


@pytest.mark.parametrize(("arguments", "code"), [([], 0), (["--strict"], 1)])
def test_a_missed_bar_fails_only_when_strict(arguments, code, capsys):
    assert main(a_benchmark(bars=[Bar("echo", "rival", 4.0)]), arguments) == code
    assert "FAIL  echo: 3.00x rival" in capsys.readouterr().out


def test_where_lower_is_better_the_ratio_turns_round(capsys):
    assert main(a_benchmark(better="lower"), ["--case", "echo"]) == 0
    assert "FAIL  echo: 0.33x rival" in capsys.readouterr().out


def test_quick_begins_no_round_that_would_not_fit(monkeypatch, capsys):
    now = iter(range(0, 10_000, 7))
    monkeypatch.setattr(harness.time, "monotonic", lambda: next(now))
    rounds = []
    case = Case("slow", "s", [Subject("warren", lambda size: rounds.append(size) or 1.0)], size=1)
    main(Benchmark("fake", [case], isolate=False), ["--quick", "--rounds", "100"])
    assert len(rounds) < 20


@pytest.mark.parametrize(
    ("better", "value", "verdict"),
    [
        ("higher", 30.0, "PASS  echo: 30 s, at least 30"),
        ("higher", 31.0, "FAIL  echo: 30 s, at least 31"),
        ("lower", 30.0, "PASS  echo: 30 s, at most 30"),
        ("lower", 29.0, "FAIL  echo: 30 s, at most 29"),
    ],
)
def test_a_mark_is_reached_or_missed_in_the_unit_of_the_case(better, value, verdict, capsys):
    case = Case("echo", "s", [Subject("warren", lambda size: 30.0)], size=1, better=better)
    code = main(Benchmark("fake", [case], marks=[Mark("echo", value)], isolate=False), ["--strict"])
    assert code == (1 if verdict.startswith("FAIL") else 0)
    assert verdict in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "cases"),
    [([], ["fast", "slow"]), (["--quick"], ["fast"]), (["--quick", "--case", "slow"], ["slow"])],
)
def test_quick_leaves_out_what_is_not_quick_unless_it_is_named(arguments, cases, tmp_path, capsys):
    path = tmp_path / "rows.json"
    subjects = [Subject("warren", lambda size: 1.0)]
    found = [Case("fast", "s", subjects, size=1), Case("slow", "s", subjects, size=1, quick=False)]
    main(Benchmark("fake", found, isolate=False), ["--json", str(path), "--rounds", "1", *arguments])
    assert [row["case"] for row in json.loads(path.read_text())] == cases


def test_what_all_rounds_need_is_there_while_they_run_and_takes_its_options(capsys):
    happened = []

    @contextmanager
    def around(options):
        happened.append(f"start {options.flavour}")
        yield
        happened.append("end")

    case = Case("echo", "s", [Subject("warren", lambda size: happened.append("run") or 1.0)], size=1)
    benchmark = Benchmark(
        "fake", [case], isolate=False, options=lambda parser: parser.add_argument("--flavour"), around=around
    )
    assert main(benchmark, ["--flavour", "mint", "--rounds", "1"]) == 0
    assert happened == ["start mint", "run", "run", "end"]
