"""How the cost of keyed windows grows with keys, with the length of a window, and with lateness.

``python -m benchmarks.steps.growth [--messages N] [--page FILE]`` prints a table, and writes a page with the plots.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from benchmarks.steps.soak import START, Point

__all__ = ["SWEEPS", "Measured", "main", "measure"]

SWEEPS: dict[str, list[float]] = {
    "keys": [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000],
    "length": [1, 10, 100, 1_000],
    "lateness": [0, 10, 100, 1_000],
}
USUAL = {"keys": 1_000.0, "length": 10.0, "lateness": 0.0}
RATE = 1_000
"""Messages in a second of event time."""
TITLES = {"keys": "keys", "length": "length of a window, s", "lateness": "lateness, s"}


class Measured(NamedTuple):
    """One point: nanoseconds a message where one thing is as given and the others as usual."""

    what: str
    at: float
    cost: float


def measure(what: str, at: float, messages: int) -> Measured:
    """Run one pipeline and count what it gave."""
    from warren import Pipeline
    from warren.connectors import memory
    from warren.operators import aggregate, count, tumbling, window

    setting = USUAL | {what: at}
    keys = int(setting["keys"])
    points = [Point(number * 7919 % keys, START + number / RATE) for number in range(messages)]
    rows: list[dict[str, int]] = []
    windows = window(
        tumbling(setting["length"]), by=attrgetter("key"), time=attrgetter("time"), lateness=setting["lateness"]
    )
    # Without a file every message of an open window holds credit, so there has to be enough for all.
    flow = memory.items(points) | windows | aggregate(n=count()) | memory.into(rows)
    began = time.perf_counter()
    Pipeline("growth", flow, credit=2 * messages).run()
    cost = (time.perf_counter() - began) / messages * 1e9
    if (counted := sum(row["n"] for row in rows)) != messages:
        raise ValueError(f"{counted:,} messages were counted and should be {messages:,}")
    return Measured(what, at, cost)


def write_page(path: Path, found: Sequence[Measured]) -> None:
    """Plots in one page that needs no network."""
    from plotly.subplots import make_subplots

    figure = make_subplots(cols=len(SWEEPS), rows=1, subplot_titles=[TITLES[what] for what in SWEEPS])
    for column, what in enumerate(SWEEPS, 1):
        mine = [each for each in found if each.what == what]
        figure.add_scatter(
            x=[f"{each.at:,g}" for each in mine], y=[each.cost for each in mine], name=what, row=1, col=column
        )
        figure.update_xaxes(type="category", row=1, col=column)
        figure.update_yaxes(rangemode="tozero", row=1, col=column)
    figure.update_yaxes(title="nanoseconds a message", row=1, col=1)
    figure.update_layout(title="warren: what a message costs in a keyed tumbling window", showlegend=False)
    figure.write_html(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Run as the command line says; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps.growth", allow_abbrev=False)
    parser.add_argument("--messages", type=int, default=1_000_000, help="messages of a point (1,000,000)")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the plots to this file, as HTML")
    options = parser.parse_args(argv)
    print(f"{options.messages:,} messages a point; where not given: " + ", ".join(f"{k} {v:,g}" for k, v in USUAL.items()))
    found = []
    for what, values in SWEEPS.items():
        for at in values:
            # A process of its own, so that none inherits another's heap.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found.append(pool.apply(measure, (what, at, options.messages)))
            print(f"{TITLES[what]:22} {at:>12,g} {found[-1].cost:>10,.0f} ns a message", flush=True)
    if options.page:
        try:
            write_page(options.page, found)
        except ImportError:
            print("plotly is not installed, so there is no page: pip install 'warren[demo]'")
            return 1
        print(f"the plots are in {options.page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
