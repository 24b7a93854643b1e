"""The harness every benchmark shares: subjects in turn, several rounds, one table, rows as JSON.

A benchmark module declares its cases and hands over::

    BENCHMARK = Benchmark(
        "sqlite",
        cases=[Case("enqueue", "messages/s", [Subject("warren", ours), Subject("huey", theirs, needs="huey")], 50_000)],
        bars=[Bar("enqueue", "huey", 5.0)],
    )
    if __name__ == "__main__":
        sys.exit(main(BENCHMARK))

A subject is a function that takes how many messages to handle, times what it wants to be measured by, and returns one
number in the unit of its case. Each round of each subject is a fresh process, so no subject inherits another's heap,
caches or imports; in it the subject first runs a tenth of the size to warm up, which is not counted.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

__all__ = ["Bar", "Benchmark", "Case", "Mark", "Subject", "main"]

ROOT = Path(__file__).resolve().parent.parent
QUICK_SECONDS = 32.0
"""What ``--quick`` plans to take; the rest up to the promised 40 s is for a round that takes longer than the last."""
HANG_SECONDS = 300.0
OURS = "warren"


@dataclass(frozen=True)
class Subject:
    """One side of a comparison, named by its package; ``python`` is a plain loop and ``limit`` the raw limit.

    ``run(size)`` returns the value of one round. ``share`` is the part of the size it gets, for subjects so slow that
    the whole would take minutes. ``needs`` is a module without which it is left out with a note.
    """

    name: str
    run: Callable[[int], float]
    needs: str | None = None
    share: float = 1.0


@dataclass(frozen=True)
class Case:
    """What is measured, in which unit, and by whom. ``size`` is the messages of a round.

    One that is not ``quick`` is left out with ``--quick``, unless it is named.
    """

    name: str
    unit: str
    subjects: Sequence[Subject]
    size: int
    quick_size: int | None = None
    better: Literal["higher", "lower"] = "higher"
    note: str = ""
    quick: bool = True


@dataclass(frozen=True)
class Bar:
    """What warren has to reach: ``times`` as good as a rival in one case."""

    case: str
    rival: str
    times: float


@dataclass(frozen=True)
class Mark:
    """What warren has to reach in one case, in its own unit."""

    case: str
    value: float


@dataclass(frozen=True)
class Benchmark:
    """A module's cases and bars. ``isolate`` gives each round its own process; tests of the harness go without.

    ``options`` adds arguments to the command line, and ``around`` is entered with them for as long as the rounds run: what
    all of them need, such as a broker, which their processes find by the environment.
    """

    name: str
    cases: Sequence[Case]
    bars: Sequence[Bar] = ()
    marks: Sequence[Mark] = ()
    isolate: bool = True
    options: Callable[[argparse.ArgumentParser], None] | None = None
    around: Callable[[argparse.Namespace], AbstractContextManager[None]] | None = None


@dataclass
class Result:
    """What one subject reached in the rounds of one case, or why it did not."""

    case: Case
    subject: str
    values: list[float] = field(default_factory=list)
    problem: str = ""

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.values)


class RoundError(Exception):
    """A subject could not finish a round."""


def main(benchmark: Benchmark, argv: Sequence[str] | None = None) -> int:
    """Run a benchmark as the command line says and return its exit code.

    1 where warren itself failed, or with ``--strict`` missed a bar; 2 for wrong arguments.
    """
    options = _options(benchmark, argv)
    if options.one:
        case, subject = _find(benchmark, *options.one)
        print(json.dumps({"value": _measure(subject, options.size)}))
        return 0
    progress = Console(stderr=True)
    chosen = [case for case in benchmark.cases if (case.name in options.case if options.case else _in_time(case, options))]
    results: list[Result] = []
    deadline = time.monotonic() + QUICK_SECONDS
    with benchmark.around(options) if benchmark.around else nullcontext():
        for i, case in enumerate(chosen):
            share = (deadline - time.monotonic()) / (len(chosen) - i) if options.quick else float("inf")
            results += _run_case(benchmark, case, options, share, progress)
            _print_table(Console(), benchmark, case, [result for result in results if result.case is case])
    if options.json:
        _write_rows(options.json, benchmark, results)
    missed = _print_bars(Console(), benchmark, results)
    failed = any(result.subject == OURS and not result.values for result in results)
    return 1 if failed or (options.strict and missed) else 0


def _options(benchmark: Benchmark, argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{benchmark.name}", allow_abbrev=False)
    names = [case.name for case in benchmark.cases]
    parser.add_argument("--quick", action="store_true", help="fewer messages and rounds: ends within 40 seconds")
    parser.add_argument("--case", action="append", choices=names, metavar="CASE", help=f"only this: {', '.join(names)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the medians to this file, as a JSON array of rows")
    parser.add_argument("--rounds", type=_positive, help="rounds of each subject (5, with --quick at most 3)")
    parser.add_argument("--size", type=_positive, help="messages of a round, instead of the case's own number")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where warren misses a bar")
    if benchmark.options:
        benchmark.options(parser)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # what the harness runs in each round's process
    options = parser.parse_args(argv)
    if options.json and not options.json.absolute().parent.is_dir():
        parser.error(f"--json {options.json}: the folder {options.json.absolute().parent} does not exist; create it first")
    return options


def _in_time(case: Case, options: argparse.Namespace) -> bool:
    return case.quick or not options.quick


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _find(benchmark: Benchmark, case_name: str, subject_name: str) -> tuple[Case, Subject]:
    case = next(case for case in benchmark.cases if case.name == case_name)
    return case, next(subject for subject in case.subjects if subject.name == subject_name)


def _measure(subject: Subject, size: int) -> float:
    subject.run(max(1, size // 10))
    return float(subject.run(size))


def _run_case(
    benchmark: Benchmark, case: Case, options: argparse.Namespace, seconds: float, progress: Console
) -> list[Result]:
    rounds = options.rounds or (3 if options.quick else 5)
    size = options.size or (options.quick and case.quick_size) or case.size
    started = time.monotonic()
    results = {subject.name: Result(case, subject.name) for subject in case.subjects}
    for subject in case.subjects:
        if subject.needs and importlib.util.find_spec(subject.needs) is None:
            results[subject.name].problem = f"{subject.needs} is not installed: pip install 'warren[bench]'"
    progress.print(f"{benchmark.name} {case.name}: {size:,} per round, up to {rounds} rounds")
    with progress.status("") as status:
        for round in range(1, rounds + 1):
            began = time.monotonic()
            for subject in case.subjects:
                result = results[subject.name]
                if not result.problem:
                    status.update(f"round {round} of {rounds}: {subject.name}")
                    try:
                        result.values.append(_round(benchmark, case, subject, max(1, int(size * subject.share))))
                    except RoundError as error:
                        result.problem = str(error)
            now = time.monotonic()
            if now - started + (now - began) > seconds:  # another round like this one would pass the time given
                break
    return list(results.values())


def _round(benchmark: Benchmark, case: Case, subject: Subject, size: int) -> float:
    if not benchmark.isolate:
        try:
            return _measure(subject, size)
        except Exception as error:
            raise RoundError(f"{type(error).__name__}: {error}") from error
    module = f"benchmarks.{benchmark.name}"
    command = [sys.executable, "-m", module, "--size", str(size), "--one", case.name, subject.name]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HANG_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise RoundError(f"did not end within {HANG_SECONDS:.0f} s") from None
    lines = done.stderr.strip().splitlines()
    if done.returncode:
        raise RoundError(lines[-1] if lines else f"ended with exit code {done.returncode}")
    return float(json.loads(done.stdout.strip().splitlines()[-1])["value"])


def _times(ours: Result, rival: Result) -> float:
    """How many times as good as a rival warren is, whichever way is better."""
    a, b = (ours, rival) if ours.case.better == "higher" else (rival, ours)
    return a.median / b.median if b.median else float("inf")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _print_table(console: Console, benchmark: Benchmark, case: Case, results: Sequence[Result]) -> None:
    by_name = {result.subject: result for result in results}
    ours, limit = by_name.get(OURS), by_name.get("limit")
    table = Table(title=f"{benchmark.name} {case.name}", title_justify="left", caption=case.note, caption_justify="left")
    table.add_column("subject")
    table.add_column(f"median\n{case.unit}", justify="right")
    table.add_column(f"spread\n{case.better} is better", justify="right")
    table.add_column("warren\nover this", justify="right")
    if limit and limit.values:
        table.add_column("share of\nlimit", justify="right")
    for result in results:
        if not result.values:
            table.add_row(result.subject, "-", "", "")
            continue
        ratio = f"{_times(ours, result):.2f}x" if ours and ours.values and result is not ours else ""
        share = f"{_times(result, limit):.2f}x" if limit and limit.values and result is not limit else ""
        spread = f"{_number(min(result.values))} to {_number(max(result.values))}"
        table.add_row(result.subject, _number(result.median), spread, ratio, *([share] if limit and limit.values else []))
    console.print(table)
    for result in results:
        if result.problem:
            console.print(f"{result.subject}: {result.problem}", markup=False, highlight=False)


def _print_bars(console: Console, benchmark: Benchmark, results: Sequence[Result]) -> int:
    """Print which bars and marks are reached; returns how many are not."""
    found = {(result.case.name, result.subject): result for result in results if result.values}
    missed = 0
    for bar in benchmark.bars:
        ours, rival = found.get((bar.case, OURS)), found.get((bar.case, bar.rival))
        if ours and rival:
            times = _times(ours, rival)
            missed += times < bar.times
            verdict = "PASS" if times >= bar.times else "FAIL"
            console.print(f"{verdict}  {bar.case}: {times:.2f}x {bar.rival}, at least {bar.times:.3g}x", highlight=False)
    for mark in benchmark.marks:
        if ours := found.get((mark.case, OURS)):
            higher = ours.case.better == "higher"
            reached = ours.median >= mark.value if higher else ours.median <= mark.value
            missed += not reached
            verdict, side, unit = "PASS" if reached else "FAIL", "least" if higher else "most", ours.case.unit
            line = f"{verdict}  {mark.case}: {_number(ours.median)} {unit}, at {side} {_number(mark.value)}"
            console.print(line, highlight=False)
    return missed


def _write_rows(path: Path, benchmark: Benchmark, results: Sequence[Result]) -> None:
    rows = [
        json.dumps(
            {
                "benchmark": benchmark.name,
                "case": result.case.name,
                "subject": result.subject,
                "value": result.median,
                "unit": result.case.unit,
                "better": result.case.better,
            }
        )
        for result in results
        if result.values
    ]
    path.write_text("[\n" + ",\n".join(rows) + "\n]\n")
