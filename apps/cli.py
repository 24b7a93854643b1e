"""The command line: ``warren run``, ``explain``, ``docs``, ``flows``, ``report``, ``replay``, ``state``, ``demo``, others.

For queues from outside of any pipeline: ``queues``, ``peek``, ``publish`` and ``dlq``; how all is: ``health``, ``doctor``.
"""

from __future__ import annotations

import difflib
import logging
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from warren.apps.advise import advise
from warren.apps.completion import completion
from warren.apps.dashboard.command import dashboard
from warren.apps.dev.command import dev
from warren.apps.docs import docs
from warren.apps.doctor import doctor
from warren.apps.health import health
from warren.apps.letters import dlq
from warren.apps.partitions import partitions
from warren.apps.peek import peek
from warren.apps.plugins import plugins
from warren.apps.publish import publish
from warren.apps.queues import queues
from warren.apps.replay import replay
from warren.apps.report import report
from warren.apps.run import run
from warren.apps.showing import as_json, say
from warren.apps.state import state
from warren.core.errors import AddressError, GraphError, WarrenError
from warren.pipelines.plan import outlets

__all__ = ["main"]

DEBUG = "WARREN_DEBUG"
FAILURE, USAGE, INTERRUPTED, CUT_OFF = 1, 2, 130, 141


class _Sentence(click.ClickException):
    """An error as one sentence; exit code 2 where what was asked for cannot be, 1 where it failed on the way."""

    def __init__(self, error: Exception) -> None:
        """Put an error into one sentence."""
        text = str(error) if isinstance(error, WarrenError) else f"{type(error).__name__}: {error}; --debug shows where"
        super().__init__(" ".join(text.split()))
        self.exit_code: int = USAGE if isinstance(error, AddressError | GraphError) else FAILURE  # type: ignore[misc]

    def show(self, file: Any = None) -> None:
        click.echo(f"warren: {self.message}", file=file, err=file is None)


class _Commands(click.Group):
    """Commands whose errors are sentences, unless a traceback is asked for."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            close = difflib.get_close_matches(args[0], self.commands, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(self.commands)}"
            raise _Sentence(AddressError(f"there is no command {args[0]!r}; {hint}"))
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        try:
            return super().make_context(*args, **options)
        except BrokenPipeError:
            # The help is printed here.
            raise SystemExit(_cut_off().exit_code) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("warren: interrupted; what was not settled goes back to its source.", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None
        except click.UsageError as error:
            where = error.ctx.command_path if error.ctx is not None else ctx.command_path
            raise _Sentence(AddressError(f"{error.format_message().rstrip('.')}; see {where} --help")) from error
        except BrokenPipeError:
            raise _cut_off() from None
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if ctx.params.get("debug") or os.environ.get(DEBUG):
                raise
            raise _Sentence(error) from error


def _cut_off() -> click.exceptions.Exit:
    """Whoever reads has gone, as head does; what is still to be written at exit would be an error again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return click.exceptions.Exit(CUT_OFF)


def _examples(*lines: str) -> str:
    # The first character keeps the lines as they are.
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


@click.group(
    cls=_Commands,
    epilog=_examples(
        "warren demo                          a year of departures through a pipeline",
        "warren explain shop.flows:orders     what a pipeline does, and what it guarantees",
        "warren run shop.flows:orders         run it until Ctrl-C",
        "warren flows recordings/             what went through, from its recording",
    ),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(version("warren"), prog_name="warren")
@click.option("--debug", is_flag=True, help=f"Show tracebacks; setting {DEBUG} does the same.")
def main(debug: bool) -> None:
    """Compose message-processing pipelines; lose nothing.

    A pipeline is named by module:attribute, looked for in the current folder too, or by file.py:attribute.
    """
    if not (debug or os.environ.get(DEBUG)):
        # What a client library logs of a failure comes out as a sentence too.
        logging.getLogger("aiormq").setLevel(logging.CRITICAL)


@main.command(
    epilog=_examples("warren explain shop.flows:orders", "warren explain shop.flows:orders --mermaid > orders.mmd")
)
@click.argument("pipeline")
@click.option("--mermaid", is_flag=True, help="Draw it as a Mermaid flowchart.")
@as_json
def explain(pipeline: str, mermaid: bool, as_json: bool) -> None:
    """Show what PIPELINE does and guarantees.

    Its steps, its credit, and what each step does to the delivery guarantee.
    """
    from warren.apps.load import load_pipeline

    loaded = load_pipeline(pipeline)
    explanation = loaded.explain()
    if as_json:
        say(
            {
                "name": loaded.name,
                "credit": loaded.credit,
                "dead_letters": loaded.dead_letters,
                "sources": [inlet.name for inlet in loaded.flow.source.inlets()],
                "sinks": [outlet.name for outlet in outlets(loaded.flow)],
                "text": str(explanation),
                "mermaid": explanation.mermaid,
            }
        )
    else:
        click.echo(explanation.mermaid if mermaid else explanation)


@main.command(
    epilog=_examples(
        "warren run shop.flows:orders --record recordings/",
        "warren flows recordings/",
        "warren flows recordings/ --bottleneck",
        "warren flows recordings/ --compact --keep 90d",
    )
)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--compact", is_flag=True, help="Put the small files of past days together instead.")
@click.option("--keep", metavar="TIME", help="Remove days that ended longer ago than this instead, such as 90d.")
@click.option("--bottleneck", is_flag=True, help="Say what limits each pipeline instead.")
@as_json
def flows(path: Path, compact: bool, keep: str | None, bottleneck: bool, as_json: bool) -> None:
    """Summarise the recordings in the folder PATH, or put them in order.

    Messages by outcome, latency, errors and stages.
    """
    if not path.exists():
        raise AddressError(f"there is no folder {str(path)!r}; give the one that warren run --record wrote to")
    from warren.apps import recordings

    recordings.show(path, compact, keep, bottleneck, as_json)


@main.command(
    epilog=_examples(
        "warren demo",
        "warren demo --limit 20000 --folder /tmp/demo",
        "warren demo --broker sqlite:///tmp/queues.db --fresh",
        "warren demo --broker amqp://user:password@host:5672/vhost",
        "warren demo --broker memory:",
    )
)
@click.option(
    "--broker",
    metavar="ADDRESS",
    help="memory:, sqlite:///path/to/file or amqp://user:password@host:port/vhost; a file in FOLDER unless given.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("warren-demo"),
    show_default=True,
    help="Where everything goes.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many flights of the year.")
@click.option("--fresh/--resume", "fresh", default=None, help="Start again, or insist on going on with an unfinished run.")
@click.option("--no-open", is_flag=True, help="Do not open the page with the plots in a browser.")
@as_json
def demo(broker: str | None, folder: Path, limit: int | None, fresh: bool | None, no_open: bool, as_json: bool) -> None:
    """Send a year of departures through a pipeline.

    Publishes the 336,776 departures from New York in 2013 to a broker, decodes them, joins the weather from a service that
    sometimes fails, counts departures and delays by airport and hour, writes Parquet, records its own flow, and accounts
    for every message. Killed at any moment, it goes on where it was.
    """
    from rich.console import Console

    from warren.apps.demo.run import demo as run_demo

    resume = None if fresh is None else not fresh
    if not as_json:
        run_demo(broker, folder, limit, resume, not no_open)
    elif (totals := run_demo(broker, folder, limit, resume, False, Console(stderr=True))) is not None:
        say({"folder": str(folder), "messages": totals.messages, "out": totals.out, "dead": totals.dead})


for _command in (
    advise,
    completion,
    dashboard,
    dev,
    dlq,
    docs,
    doctor,
    health,
    partitions,
    peek,
    plugins,
    publish,
    queues,
    replay,
    report,
    run,
    state,
):
    main.add_command(_command)
