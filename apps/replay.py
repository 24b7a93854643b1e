"""``warren replay``: recorded messages through a pipeline again, as they came, faster, or as fast as it goes."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from warren.apps.showing import as_json, say, screen, shown
from warren.core.errors import AddressError, GraphError, shorten
from warren.core.words import plural

if TYPE_CHECKING:
    from rich.table import Table

    from warren.core.hooks import FlowObserver
    from warren.pipelines import Pipeline
    from warren.testing.live import Replayed
    from warren.testing.stored import Stored

__all__ = ["replay"]

_WORDS = {"real": 1.0, "full": math.inf}


class _Speed(click.ParamType[float]):
    name = "real|10x|full"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)x", value)
        speed = _WORDS.get(value, float(found[1]) if found else 0.0)
        if not speed > 0:
            self.fail(f"{value!r} is no speed: write real, full, or how many times as fast, such as 10x or 0.5x", param, ctx)
        return speed


class _Instant(click.ParamType[float]):
    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        from warren.testing.stored import instant

        try:
            return instant(value)
        except ValueError:
            self.fail(f"{value!r} is no time: write it as 2026-03-01T09:00, in UTC, or with a zone as +01:00", param, ctx)


@click.command(
    epilog="\b\nExamples:\n"
    "  warren run shop.flows:orders --tape orders.jsonl\n"
    "  warren replay orders.jsonl shop.flows:orders\n"
    "  warren replay orders.jsonl shop.flows:orders --speed 10x --since 2026-03-01T09:00 --until 2026-03-01T10:00\n"
    "  warren replay recordings/ shop.flows:orders --payload shop.load:order --speed full\n"
    "  warren replay orders.jsonl shop.flows:orders --to sqlite:again.db?queue=orders"
)
@click.argument("recording", type=click.Path(path_type=Path))
@click.argument("pipeline")
@click.option("--speed", type=_Speed(), default="real", show_default=True, help="How fast messages come.")
@click.option("--to", metavar="own|ADDRESS", help="Write results to the pipeline's own sinks, or all to one address.")
@click.option("--payload", metavar="MODULE:FUNCTION", help="Makes each payload from a recorded row, a dict.")
@click.option("--recorded-as", metavar="NAME", help="The pipeline whose flows a folder has, if not PIPELINE's name.")
@click.option("--source", metavar="NAME", help="Only messages of this source.")
@click.option("--since", type=_Instant(), help="Only messages from this time on.")
@click.option("--until", type=_Instant(), help="Only messages before this time.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many messages.")
@click.option("--record", type=click.Path(file_okay=False, path_type=Path), help="Record the flow to this folder.")
@as_json
def replay(
    recording: Path,
    pipeline: str,
    speed: float,
    to: str | None,
    payload: str | None,
    recorded_as: str | None,
    source: str | None,
    since: float | None,
    until: float | None,
    limit: int | None,
    record: Path | None,
    as_json: bool,
) -> None:
    """Replay the messages of RECORDING through PIPELINE.

    RECORDING is a file of messages that a Tape wrote, or a folder of flows that warren run --record wrote; as flows have
    no payloads, these are then bytes of the recorded sizes, or what --payload makes.

    Nothing outside is touched: the pipeline's sources, state and observers never, its sinks and dead letters only with
    --to own. Without --to, results are counted, and the first of them shown. Ctrl-C ends it once what is in flight is
    through.
    """
    from rich.console import Console

    from warren.apps.demo.progress import bar
    from warren.apps.load import load_function, load_pipeline
    from warren.connectors import address
    from warren.testing.live import OWN, replay_live
    from warren.testing.stored import Choice, stored

    if not recording.exists():
        raise AddressError(f"there is no recording {str(recording)!r}; give a file that a Tape wrote, or a folder of flows")
    loaded = load_pipeline(pipeline)
    found = stored(
        recording,
        pipeline=recorded_as,
        prefer=loaded.name,
        value=load_function(payload) if payload is not None else None,
        choice=Choice(since, until, source, limit),
    )
    if not found.count:
        raise GraphError(f"{recording} has no messages to replay; look at --source, --since and --until, or record some")
    sink = address.sink(to) if to not in (None, OWN) else to
    console = Console(stderr=True)
    console.print(_plan(recording, found, loaded, speed, sink), highlight=False, markup=False, soft_wrap=True)
    with bar(console, loaded.name, found.count) as moving:
        observers: list[FlowObserver] = [moving]
        if record is not None:
            from warren.analytics import Recorder

            observers.append(Recorder(record))
        done = replay_live(loaded, found, speed=speed, to=sink, observers=observers)
    if as_json:
        failures = [{"error": error, "stage": stage, "messages": n} for (error, stage), n in done.failures.most_common()]
        samples = {name: list(map(shown, values)) for name, values in done.samples.items()}
        say({**msgspec.structs.asdict(done), "rate": done.rate, "failures": failures, "samples": samples})
    else:
        screen().print(*_tables(done, found.count), sep="\n")


def _plan(recording: Path, found: Stored, pipeline: Pipeline, speed: float, to: object) -> str:
    """What will be done, in words."""
    first, last = (f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}" for at in (found.start, found.end))
    if speed < math.inf:
        pace = f"in {timedelta(seconds=math.ceil((found.end - found.start) / speed))} (h:mm:ss)"
    else:
        pace = "as fast as it takes them"
    where = "only counted, nothing is written" if to is None else f"written to {to}, and dead letters only counted"
    if to == "own":
        where = "written to its own sinks and dead letters"
    made = "; payloads are bytes of the recorded sizes" if found.made_up else ""
    return (
        f"{plural(found.count, 'message')} of {recording}, {first} to {last} UTC, through {pipeline.name!r} {pace}{made}. "
        f"Results are {where}."
    )


def _tables(done: Replayed, count: int) -> list[Table | str]:
    """What came of it."""
    late = f", {done.late:,.1f} s late at most" if done.late >= 1 else ""
    said = f"{done.messages:,} of {plural(count, 'message')} in {done.elapsed:,.1f} s: {done.rate:,.0f} a second{late}"
    shown: list[Table | str] = [said, _table(("outcome", "messages"), list(done.outcomes.most_common()))]
    if done.outputs:
        rows = [
            (name, n, "\n".join(shorten(value, 70) for value in done.samples.get(name, [])))
            for name, n in done.outputs.most_common()
        ]
        shown.append(_table(("sink", "values", "the first"), rows))
    if done.failures:
        shown.append(_table(("error", "stage", "messages"), [(*each, n) for each, n in done.failures.most_common()]))
    return shown


def _table(titles: tuple[str, ...], rows: list[Any]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        table.add_column(title, justify="right" if title in ("messages", "values") else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in row))
    return table
