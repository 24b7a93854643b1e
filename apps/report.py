"""``warren report capacity``: what recordings say of each queue's capacity, once or on a timetable, written and sent."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from warren.apps.showing import screen
from warren.core.clock import seconds
from warren.core.errors import ConnectorError, GraphError, WarrenError

if TYPE_CHECKING:
    from rich.table import Table

    from warren.analytics.report import Report
    from warren.analytics.sending import Receiver
    from warren.apps.timetable import Timetable

__all__ = ["RUNS_OUT", "report"]

RUNS_OUT = 3
"""The exit code that says that a capacity runs out within --fail-within."""

_MOST = 100_000


class _Job(NamedTuple):
    """What is asked for."""

    flows: Path
    pipelines: tuple[str, ...]
    target: str
    horizon: str
    zone: str
    prices: Path | None
    consumers: tuple[str, ...]
    last: Path | None
    outs: tuple[Path, ...]
    receivers: list[Receiver]
    link: str | None
    within: float | None
    as_json: bool


@click.group(
    epilog="\b\nExample:\n  warren report capacity --flows recordings/ --out report.html",
)
def report() -> None:
    """Reports made from recorded flows."""


@report.command(
    epilog="\b\nExamples:\n  warren report capacity --flows recordings/ --out report.html --out report.json\n"
    "  warren report capacity --flows recordings/ --target p95=500ms --consumers orders=2+2 --prices eu.toml --out r.pdf\n"
    "  warren report capacity --flows recordings/ --last report.json --out report.json --fail-within 14d\n"
    "  warren report capacity --flows recordings/ --every 1d --at 06:00 --zone Europe/Berlin --send mailto:ops@example.org\n"
    "\b\nExit codes:\n  0  the report is made and sent\n  1  it could not be made or sent\n"
    "  2  what was asked for cannot be\n  3  a capacity runs out within --fail-within",
)
@click.option("--flows", required=True, type=click.Path(path_type=Path), help="The folder that was recorded to.")
@click.option("--pipeline", "pipelines", multiple=True, metavar="NAME", help="Only this one; may be repeated.")
@click.option("--target", default="p99=2s", show_default=True, help="What share is done how soon after it was enqueued.")
@click.option("--horizon", default="30d", show_default=True, help="How far to look ahead.")
@click.option("--zone", default="UTC", show_default=True, help="The time zone of days, of --at, and of the report.")
@click.option("--prices", type=click.Path(path_type=Path), help="A TOML or JSON file with prices.")
@click.option(
    "--consumers",
    multiple=True,
    metavar="[NAME=]N[+N...]",
    help="How many run on each node, such as orders=3+3; told from the recording unless given.",
)
@click.option("--last", type=click.Path(path_type=Path), help="An earlier report in JSON, to see how its forecast did.")
@click.option(
    "--out", "outs", multiple=True, type=click.Path(path_type=Path), help="Write it: .html, .pdf or .json; may be repeated."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON in place of a table.")
@click.option("--fail-within", metavar="TIME", help="Exit with 3 where a capacity runs out within this time, such as 14d.")
@click.option("--every", metavar="TIME", help="Go on, and make one so often, such as 1d.")
@click.option("--at", metavar="HH:MM", help="At which time of the day; with --every.")
@click.option(
    "--send", "sends", multiple=True, metavar="ADDRESS", help="folder:PATH, https://… or mailto:…; may be repeated."
)
@click.option("--link", metavar="URL", help="Where people find the report; said in what is sent.")
@click.option("--smtp", metavar="HOST:PORT", help="The mail server; WARREN_SMTP, or localhost:25, unless given.")
@click.option("--smtp-user", metavar="NAME", help="WARREN_SMTP_USER unless given; the password is WARREN_SMTP_PASSWORD.")
@click.option("--mail-from", metavar="MAILBOX", help="WARREN_MAIL_FROM, or the first receiver, unless given.")
def capacity(
    flows: Path,
    pipelines: tuple[str, ...],
    target: str,
    horizon: str,
    zone: str,
    prices: Path | None,
    consumers: tuple[str, ...],
    last: Path | None,
    outs: tuple[Path, ...],
    as_json: bool,
    fail_within: str | None,
    every: str | None,
    at: str | None,
    sends: tuple[str, ...],
    link: str | None,
    smtp: str | None,
    smtp_user: str | None,
    mail_from: str | None,
) -> None:
    """Say for each recorded queue how long its consumers are enough, and what can be done.

    Arrivals, service times, utilisation, depth, age and retries; demand by horizon; the bottleneck; headroom and the date on
    which it runs out; what survives the loss of nodes; options with cost and risk; the last forecast against what happened;
    gaps in the data. docs/capacity-report.md describes it.
    """
    from warren.analytics.report.files import suffix_of
    from warren.analytics.report.gather import parse_target
    from warren.analytics.sending import receiver
    from warren.apps.timetable import Timetable

    # What cannot be is refused before anything is worked out.
    parse_target(target)
    for out in outs:
        suffix_of(out)
    _consumers(consumers)
    if at is not None and every is None:
        raise GraphError("--at says when with --every; give both, such as --every 1d --at 06:00")
    timetable = Timetable(every, at, zone) if every is not None else None
    receivers = [receiver(each, smtp=smtp, user=smtp_user, sender=mail_from) for each in sends]
    within = seconds(fail_within) if fail_within is not None else None
    job = _Job(*(flows, pipelines, target, horizon, zone, prices, consumers, last, outs, receivers, link, within, as_json))
    if timetable is not None:
        _scheduled(job, timetable)
    elif _made(job):
        raise click.exceptions.Exit(RUNS_OUT)


def _scheduled(job: _Job, timetable: Timetable) -> None:
    from warren.analytics.report.words import moment
    from warren.apps.timetable import Stop, keep

    stop = Stop()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)

    def work() -> None:
        try:
            _made(job)
        except WarrenError as error:
            click.echo(f"warren: {' '.join(str(error).split())}; the next report is made when it is due", err=True)

    def told(due: datetime) -> None:
        click.echo(f"The next report is due {moment(due, job.zone)} ({job.zone}).", err=True)

    keep(timetable, work, wait=stop.wait, told=told)
    click.echo("Asked to stop; no report is under way.", err=True)


def _made(job: _Job) -> bool:
    """Make the report, write it, send it and show it; whether a capacity runs out within the time that fails."""
    from warren.analytics.report import capacity_report, read_prices
    from warren.analytics.report.files import render, suffix_of, write
    from warren.analytics.report.prices import CONSUMER_HOURS
    from warren.analytics.sending import Parcel
    from warren.apps.sending import summary, words

    problems: list[str] = []
    prices, last = CONSUMER_HOURS, None
    if job.prices is not None:
        with _noted(problems):
            prices = read_prices(job.prices)
    if job.last is not None:
        with _noted(problems):
            last = _last(job.last, problems)
    with _progress() as progress:
        made = capacity_report(
            job.flows,
            pipelines=job.pipelines,
            target=job.target,
            horizon=job.horizon,
            zone=job.zone,
            prices=prices,
            consumers=_consumers(job.consumers),
            last=last,
            problems=problems,
            progress=progress,
        )
    for out in job.outs:
        write(made, out)
    if job.receivers:
        suffixes = dict.fromkeys(map(suffix_of, job.outs)) or (".html", ".json")
        files = {each: render(made, each) for each in suffixes}
        told = summary(made, job.within, job.link)
        parcel = Parcel(f"capacity-{made.made:%Y%m%dT%H%M%SZ}", told, files, words(told))
        failed = []
        for each in job.receivers:
            try:
                each.send(parcel)
            except ConnectorError as error:
                failed.append(error)
        _show(made, job)
        if failed:
            raise ConnectorError("; ".join(map(str, failed)))
    else:
        _show(made, job)
    short = [queue.pipeline for queue in made.runs_out(job.within)] if job.within is not None else []
    if short:
        click.echo(f"warren: capacity runs out within --fail-within: {', '.join(short)}", err=True)
    return bool(short)


@contextlib.contextmanager
def _noted(problems: list[str]) -> Iterator[None]:
    """What fails here costs a part of the report, and is said in it."""
    try:
        yield
    except WarrenError as error:
        problems.append(" ".join(str(error).split()))


def _last(path: Path, problems: list[str]) -> Report | None:
    from warren.analytics.report import read_report

    if path.exists():
        return read_report(path)
    problems.append(f"there is no last report {path} yet; from the next one on its forecast is compared with what came")
    return None


def _consumers(texts: tuple[str, ...]) -> dict[str, list[int]]:
    """How many run on each node, by pipeline."""
    found = {}
    for text in texts:
        name, _, counts = text.rpartition("=")
        parts = counts.split("+")
        if not all(each.isascii() and each.isdigit() and 0 < int(each) <= _MOST for each in parts):
            raise GraphError(f"--consumers {text}: write how many run, such as 'orders=6', or on each node, 'orders=3+3'")
        # Each consumer is on a node of its own, unless it is said.
        found[name] = [int(each) for each in parts] if len(parts) > 1 else [1] * int(counts)
    return found


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda pipeline, done, of: bar.update(task, description=pipeline, completed=done, total=of)


def _show(made: Report, job: _Job) -> None:
    from warren.analytics.report.files import render

    if job.as_json:
        click.echo(render(made, ".json"), nl=False)
        return
    screen().print(_table(made))
    for each in [*made.problems, *(f"{queue.pipeline}: {each}" for queue in made.queues for each in queue.problems)]:
        click.echo(f"Note: {each}")
    for out in job.outs:
        click.echo(f"The report is in {out}.", err=True)


def _table(made: Report) -> Table:
    from rich.table import Table
    from rich.text import Text

    from warren.analytics.report.tables import STATES
    from warren.analytics.report.words import NONE, limited_by, part, rate, runs_out, state

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("queue", "state", "now", "busy hours", "in use when busy", "runs out", "limited by"):
        table.add_column(name)
    colours = {"out": "red", "soon": "yellow", "well": "green", "unknown": ""}
    for queue in made.queues:
        told = state(queue, made)
        table.add_row(
            Text(queue.pipeline),
            Text(STATES[told], colours[told]),
            rate(queue.arrival.now) if queue.arrival else NONE,
            rate(queue.headroom.busy) if queue.headroom else NONE,
            part(queue.busy_utilisation),
            runs_out(queue.headroom, made.made, made.zone),
            Text(limited_by(queue)),
        )
    return table
