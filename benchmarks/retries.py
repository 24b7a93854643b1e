"""Retries: clients that contend for a record, and a service that is down for ten seconds, in simulated time.

    python -m benchmarks.retries --whole

prints the medians over several seeds for all numbers of clients and both loads; without ``--whole`` the cases take their
turns as in every benchmark. One `AdaptiveBackoff` is shared by all clients of a process, as a pipeline has it (``warren``);
beside it four processes with a fourth of the clients each, and clients that have one each and so see nothing but what
became of their own attempts. All of them begin without having learned anything.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from math import inf
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.harness import Bar, Benchmark, Case, Mark, Subject, main
from benchmarks.retrying import contention, outage

__all__ = ["BENCHMARK"]

CLIENTS: dict[str, Callable[[], Callable[..., contention.Waits]]] = {
    "warren": contention.adaptive,
    "warren-four": partial(contention.adaptive, 4),
    "warren-apart": partial(contention.adaptive, inf),
    "none": lambda: contention.never,
    "exponential": lambda: contention.exponential,
    "full": lambda: contention.full,
    "equal": lambda: contention.equal,
    "decorrelated": lambda: contention.decorrelated,
}
SERVICES: dict[str, Callable[[], outage.Policy]] = {
    "warren": outage.Learned,
    "none": outage.Never,
    "full": outage.Plain,
    "budget": outage.Budgeted,
}
SEEDS = 11


def contended(name: str, clients: int) -> tuple[float, float]:
    """Median seconds and calls until all clients are done."""
    # Few clients leave more to chance.
    seeds = SEEDS + 1000 // clients
    results = [contention.run(clients, CLIENTS[name](), seed) for seed in range(seeds)]
    return median(each.seconds for each in results), median(each.calls for each in results)


def failing(name: str, load: float, seeds: int) -> outage.Result:
    """Medians over an outage."""
    results = [outage.run(load, SERVICES[name](), seed) for seed in range(seeds)]
    recovery, peak, success = (
        median(each) for each in zip(*((r.recovery, r.peak, r.success) for r in results), strict=True)
    )
    return outage.Result(recovery, peak, success)


def quiet(name: str, load: float) -> float:
    """The share of requests that succeed where two in a hundred answers are errors, and nothing else happens."""
    return outage.run(load, SERVICES[name](), 0, stops=False).success


def report() -> None:
    console = Console()
    found = {(clients, name): contended(name, clients) for clients in contention.CLIENTS for name in CLIENTS}
    for title, which in (("seconds", 0), ("calls", 1)):
        table = Table(title=f"Contention: {title} until all are done, and as a share of full jitter's", title_justify="left")
        for name in ("clients", *CLIENTS):
            table.add_column(name, justify="right")
        for clients in contention.CLIENTS:
            row = {name: found[clients, name][which] for name in CLIENTS}
            table.add_row(str(clients), *(f"{each:.4g} ({each / row['full']:.2f})" for each in row.values()))
        console.print(table)
    table = Table(title="An outage of 10 s, and two errors in a hundred answers", title_justify="left")
    for name in ("load", "policy", "recovery, s", "peak load", "success", "success without outage"):
        table.add_column(name, justify="right")
    for load in (0.7, 0.85):
        for name in SERVICES:
            ours = failing(name, load, SEEDS)
            end = f"{ours.recovery:.2f}" if ours.recovery < outage.END - outage.AGAIN else "never"
            table.add_row(f"{load}", name, end, f"{ours.peak:.2f}", f"{ours.success:.1%}", f"{quiet(name, load):.3%}")
    console.print(table)


def _contention(name: str, unit: str, which: int) -> Case:
    subjects = [Subject(each, lambda size, each=each: contended(each, size)[which]) for each in CLIENTS]
    return Case(f"contention-{name}", unit, subjects, 100, better="lower", note="a message is a client")


def _outage(load: float) -> Case:
    subjects = [Subject(each, lambda size, each=each: failing(each, load, max(1, size // 10)).recovery) for each in SERVICES]
    return Case(f"outage-{load:g}", "s", subjects, 10 * SEEDS, quick_size=30, better="lower", note="ten messages are a run")


BENCHMARK = Benchmark(
    "retries",
    cases=[
        _contention("time", "s", 0),
        _contention("calls", "calls", 1),
        _outage(0.7),
        _outage(0.85),
        Case(
            "peak",
            "times the load",
            [Subject(each, lambda size, each=each: failing(each, 0.85, max(1, size // 10)).peak) for each in SERVICES],
            30,
            better="lower",
        ),
        Case("success", "share", [Subject(each, lambda size, each=each: quiet(each, 0.85)) for each in SERVICES], 1),
    ],
    bars=[
        Bar("contention-time", "full", 1 / 0.7),
        Bar("contention-calls", "full", 1 / 0.7),
        Bar("outage-0.7", "none", 1 / 1.25),
        Bar("outage-0.85", "none", 1 / 1.25),
    ],
    marks=[Mark("peak", 1.5), Mark("success", 0.999)],
)

if __name__ == "__main__":
    if sys.argv[1:] == ["--whole"]:
        report()
    else:
        sys.exit(main(BENCHMARK))
