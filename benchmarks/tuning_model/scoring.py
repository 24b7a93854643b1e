"""How a rule is judged: by the shares it reaches of what the best fixed value of each regime does."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from statistics import fmean
from typing import Any, NamedTuple

from rich.table import Table

from benchmarks.tuning_model.plant import Call, Regime, Run
from benchmarks.tuning_model.rivals import RIVALS
from warren.analytics.tuning import Tuner
from warren.core.knobs import Knob, Setting

__all__ = ["OURS", "SETTLED", "Case", "Fixed", "Tried", "best", "part", "shares", "subjects", "summary", "tables"]

OURS, DEFAULT, STATIC = "KneeSearch", "default", "static best"
SETTLED = 10.0


@dataclass(frozen=True)
class Case:
    """What is tuned, through which regimes, and how long the slowest calls but five in a hundred may take."""

    title: str
    regimes: tuple[Regime, ...]
    knob: Knob
    latency: float = inf


class Fixed:
    """A setting that stays, unless the value is set."""

    def __init__(self, knob: Knob, value: int) -> None:
        self.knob, self.value = knob, value

    def open(self, clock: Any) -> None:
        """Nothing is measured."""

    def ended(self, seconds: float, success: bool, *, in_flight: float = 0.0, count: int = 1) -> None:
        """Nothing is learned."""


class Tried(NamedTuple):
    """A value that was tried: messages a second, and the 95th percentile of how long calls took."""

    value: int
    rate: float
    tail: float


def part(calls: Sequence[Call], start: float, end: float) -> tuple[float, float]:
    """Messages a second, and the 95th percentile of how long calls took."""
    found = _between(calls, start, end)
    if not found:
        return 0.0, inf
    rate = sum(call.messages for call in found) / (end - start)
    return rate, sorted(call.took for call in found)[int(0.95 * len(found))]


def _between(calls: Sequence[Call], start: float, end: float) -> Sequence[Call]:
    return calls[bisect_left(calls, start, key=_at) : bisect_left(calls, end, key=_at)]


def _at(call: Call) -> float:
    return call.at


def best(case: Case, tried: Sequence[Tried]) -> Tried:
    """What has the highest throughput within the bound; the least value where none is."""
    rows = [row for row in tried if row.tail <= case.latency]
    return max(rows, key=lambda row: row.rate) if rows else tried[0]


def _static_best(case: Case, grids: Sequence[Sequence[Tried]]) -> int:
    """The one value that is best over all regimes, within the bound in each if there is such a one."""
    marks = [best(case, tried).rate for tried in grids]
    columns = list(zip(*grids, strict=True))
    kept = [column for column in columns if all(row.tail <= case.latency for row in column)] or columns[:1]
    return max(kept, key=lambda column: fmean(row.rate / mark for row, mark in zip(column, marks, strict=True)))[0].value


def subjects(case: Case, grids: Sequence[Sequence[Tried]]) -> dict[str, Callable[[], Setting]]:
    """What is compared, each made anew by a call."""
    knob, bound = case.knob, case.latency
    made: dict[str, Callable[[], Setting]] = {
        DEFAULT: lambda: Fixed(knob, knob.start),
        STATIC: lambda: Fixed(knob, _static_best(case, grids)),
    }
    for name, rival in RIVALS.items():
        made[name] = lambda rival=rival: Tuner(knob, rival(knob, bound), mode="act", interval=0.25, least=10)  # type: ignore[misc]
    made[OURS] = lambda: Tuner(knob, mode="act", latency=None if bound == inf else bound)
    return made


def shares(
    case: Case, run: Run, k: int, lasts: float, tried: Sequence[Tried], settled: float = SETTLED
) -> tuple[float, ...]:
    """Of the k-th regime: settled, whole, beside the default, over the bound, the seconds until nine tenths, the value."""
    start, end, truth = k * lasts, (k + 1) * lasts, best(case, tried)
    whole, _ = part(run.calls, start, end)
    default = next(row.rate for row in tried if row.value == case.knob.start)
    later = _between(run.calls, start + settled, end)
    late = sum(call.took > case.latency for call in later) / max(len(later), 1)
    # From the first half second on from which two seconds of calls reach nine tenths of the best.
    span = min(2.0, lasts)
    time = next(
        (
            s / 2
            for s in range(int(2 * (lasts - span)) + 1)
            if part(run.calls, start + s / 2, start + s / 2 + span)[0] >= 0.9 * truth.rate
        ),
        lasts,
    )
    held = [value for at, value in run.values if start + settled <= at < end]
    middle = sorted(held)[len(held) // 2] if held else [value for at, value in run.values if at < end][-1]
    reached, _ = part(run.calls, start + settled, end)
    return reached / truth.rate, whole / truth.rate, whole / min(default, truth.rate), late, time, float(middle)


def summary(case: Case, rows: Sequence[tuple[str, tuple[float, ...]]]) -> dict[str, Any]:
    """Of one subject, over all regimes that are named in the rows and for each of them."""
    return {
        "settled": fmean(row[0] for _, row in rows),
        "least": min(row[0] for _, row in rows),
        "whole": fmean(row[1] for _, row in rows),
        "default": min(row[2] for _, row in rows),
        "late": fmean(row[3] for _, row in rows),
        "time": fmean(row[4] for _, row in rows),
        "regimes": {
            regime.name: [fmean(row[k] for name, row in rows if name == regime.name) for k in range(6)]
            for regime in case.regimes
        },
    }


def tables(case: Case, grids: Sequence[Sequence[Tried]], results: dict[str, dict[str, Any]]) -> list[Table]:
    """All subjects side by side, and in each regime."""
    table = Table(title=case.title, title_justify="left")
    for column in ("rule", "settled", "least of them", "whole", "beside default", "over the bound", "seconds to 0.9"):
        table.add_column(column, justify="left" if column == "rule" else "right")
    for name, row in results.items():
        numbers = (f"{row[key]:.3f}" for key in ("settled", "least", "whole", "default"))
        table.add_row(name, *numbers, f"{row['late']:.1%}", f"{row['time']:.1f}")
    each = Table(title="each regime, settled (value of the knob)", title_justify="left")
    each.add_column("regime")
    each.add_column("best", justify="right")
    for name in results:
        each.add_column(name, justify="right")
    for regime, tried in zip(case.regimes, grids, strict=True):
        truth = best(case, tried)
        cells = (row["regimes"][regime.name] for row in results.values())
        each.add_row(
            regime.name, f"{truth.rate:.0f}/s ({truth.value})", *(f"{cell[0]:.2f} ({cell[5]:.0f})" for cell in cells)
        )
    return [table, each]
