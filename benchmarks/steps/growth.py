"""How the cost of keyed windows grows with keys, with the length of a window, and with lateness.

``python -m benchmarks.steps.growth [--messages N] [--plot FILE]`` prints a table, and draws it.
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


def plot(path: Path, found: Sequence[Measured]) -> None:
    """Draw a picture of the costs, of the format that the file's name says."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "growth", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(9, 2.6), layout="constrained")
        all_axes = figure.subplots(1, len(SWEEPS), sharey=True, squeeze=False)[0]
        for axes, what in zip(all_axes, SWEEPS, strict=True):
            mine = [each for each in found if each.what == what]
            axes.plot([f"{each.at:,.0f}" for each in mine], [each.cost for each in mine], marker="o", markersize=4)
            axes.set(xlabel=TITLES[what], ylim=(0, None))
            axes.tick_params("x", labelrotation=30)
            axes.grid(axis="y", linewidth=0.5)
        all_axes[0].set_ylabel("nanoseconds a message")
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main(argv: Sequence[str] | None = None) -> int:
    """Run as the command line says; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps.growth", allow_abbrev=False)
    parser.add_argument("--messages", type=int, default=1_000_000, help="messages of a point (1,000,000)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a picture into this file, such as growth.svg")
    options = parser.parse_args(argv)
    print(f"{options.messages:,} messages a point; where not given: " + ", ".join(f"{k} {v:,g}" for k, v in USUAL.items()))
    found = []
    for what, values in SWEEPS.items():
        for at in values:
            # A process of its own, so that none inherits another's heap.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found.append(pool.apply(measure, (what, at, options.messages)))
            print(f"{TITLES[what]:22} {at:>12,g} {found[-1].cost:>10,.0f} ns a message", flush=True)
    if options.plot:
        try:
            plot(options.plot, found)
        except ImportError:
            print("matplotlib is not installed, so there is no picture: pip install 'warren[report]'")
            return 1
        print(f"the picture is in {options.plot}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
