"""The demonstration from its beginning, or from where it was killed, to its report."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import time
import webbrowser
from pathlib import Path

import polars as pl
from rich.console import Console

from warren.analytics import Recorder
from warren.apps.demo import data, state
from warren.apps.demo.broker import Broker, connect
from warren.apps.demo.flights import Flight, flights
from warren.apps.demo.progress import bar
from warren.apps.demo.publish import messages
from warren.apps.demo.report import write
from warren.apps.demo.tables import show
from warren.apps.demo.totals import Totals, reconcile
from warren.apps.demo.traffic import traffic
from warren.apps.demo.unusual import unusual
from warren.apps.demo.weather import WeatherService
from warren.apps.showing import screen
from warren.connectors import memory
from warren.core.errors import AddressError, StorageError, WarrenError
from warren.pipelines import Pipeline

__all__ = ["demo"]

_STOPPED = "Stopped; everything is safe. Run the demo again to go on."
_STOPPED_SECRET = (
    "Stopped; everything is safe. To go on, run the demo again with the same --broker: its password is not kept."
)


def demo(
    broker: str | None, folder: Path, limit: int | None, resume: bool | None, open_page: bool, console: Console | None = None
) -> Totals | None:
    """Run the demonstration; go on with an unfinished one in the folder unless ``resume`` is false. None where interrupted.

    Raises `AddressError` where there is nothing to resume, or what is asked for differs from it, and `WarrenError` where
    the account does not add up.
    """
    started = time.monotonic()
    console = console or screen()
    data.require("plotly")
    run, server = _begin(broker, folder, limit, resume, console)
    stopped = _STOPPED_SECRET if server.secret else _STOPPED
    table = data.flights(run.limit)
    if run.phase == "publishing":
        if run.starts > 1 and not server.exact:
            _renew(run, server, folder)
        _publish(run, server, table, console)
        if server.depth(run.queue) < table.height:
            console.print(stopped)
            return None
        run.phase = "processing"
        state.save(folder, run)
    rate = _process(run, server, table, folder, console)
    if server.depth(run.queue):
        console.print(stopped)
        return None
    letters = server.letters(_dead(run))
    totals = reconcile(table, folder / "hours", letters)
    flow = traffic(folder / "flow", rate)
    scored = unusual(totals.hours)
    page = folder / "report.html"
    write(page, totals, flow, scored)
    show(console, totals, flow, scored)
    if totals.problems:
        raise WarrenError(f"the account does not add up: {'; '.join(totals.problems)}; everything is kept in {folder}")
    run.phase = "finished"
    state.save(folder, run)
    server.delete(*_queues(run))
    console.print(f"\n[bold]{time.monotonic() - started:.1f} s[/], at most {_peak_memory():,.0f} MB of memory")
    console.print(f"The page with the plots: [link={page.resolve().as_uri()}]{page}[/link]", soft_wrap=True)
    if open_page and sys.stdout.isatty() and _has_display():
        webbrowser.open(page.resolve().as_uri())
    return totals


def _begin(
    broker: str | None, folder: Path, limit: int | None, resume: bool | None, console: Console
) -> tuple[state.State, Broker]:
    """The unfinished run to go on with, or a new one; and its broker."""
    run = None if resume is False else state.load(folder)
    server = connect(broker) if broker is not None else None
    if run is not None and run.phase != "finished" and connect(run.broker).durable:
        shown = server.shown if server is not None else None
        for name, asked, had in (("broker", shown, run.broker), ("limit", limit, run.limit)):
            if asked is not None and asked != had:
                raise AddressError(
                    f"{folder} holds an unfinished run with --{name} {had}, not {asked}; leave --{name} out to go on "
                    f"with it, or start again with --fresh"
                )
        if server is None and run.secret:
            raise AddressError(
                f"{folder} holds an unfinished run on {run.broker}, and the password is not kept; give the whole address "
                f"with --broker to go on with it, or start again with --fresh"
            )
        server = server or connect(run.broker)
        console.print(f"Going on with the unfinished run in {folder} (--fresh starts again).")
    elif resume:
        raise AddressError(f"there is no unfinished run in {folder}; leave --resume out to start one")
    else:
        server = server or connect(f"sqlite:{folder / 'broker.db'}")
        run = state.State(server.shown, _queue(), limit, secret=server.secret)
        # A broker that cannot be reached says so here, before anything is cleared or kept.
        server.depth(run.queue)
        _clear(folder, server)
    run.starts += 1
    state.save(folder, run)
    return run, server


def _clear(folder: Path, server: Broker) -> None:
    """Remove what an earlier run left, in the folder and on the same broker."""
    left = None
    with contextlib.suppress(StorageError):
        left = state.load(folder)
    state.clear(folder)
    if left is not None and left.phase != "finished" and left.broker == server.shown:
        server.delete(*_queues(left))


def _queue() -> str:
    """The name of a queue of its own, so that a broker that holds other things can be named."""
    return f"flights-{secrets.token_hex(3)}"


def _queues(run: state.State) -> tuple[str, str]:
    """What a run leaves on its broker."""
    return run.queue, _dead(run)


def _dead(run: state.State) -> str:
    return f"{run.queue}.dead"


def _renew(run: state.State, server: Broker, folder: Path) -> None:
    """Have a run publish from the beginning, to another queue, in which nothing of before can arrive."""
    server.delete(*_queues(run))
    run.queue = _queue()
    state.save(folder, run)


def _publish(run: state.State, server: Broker, table: pl.DataFrame, console: Console) -> None:
    # Nobody has read from the queue yet, so how much is in it says how far a killed run came.
    done = server.depth(run.queue)
    with bar(console, "publish", table.height, done) as shown:
        source = memory.items(messages(table, done))
        Pipeline("publish", source | server.queue(run.queue, None), observers=[shown]).run()


def _process(run: state.State, server: Broker, table: pl.DataFrame, folder: Path, console: Console) -> float:
    """Process what waits; return how many messages a second that were."""
    source = server.queue(run.queue, Flight)
    pipeline = flights(source, WeatherService(data.weather()), folder / "hours", dead_letters=_dead(run))
    waiting = server.depth(run.queue)
    with bar(console, "process", table.height, table.height - waiting) as shown:
        start = time.perf_counter()
        pipeline.observed(Recorder(folder / "flow"), shown).run(until_empty=True)
        elapsed = time.perf_counter() - start
    return shown.count / elapsed


def _peak_memory() -> float:
    """The most memory this process had, in megabytes."""
    try:
        import resource
    except ImportError:  # not on Windows
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _has_display() -> bool:
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
