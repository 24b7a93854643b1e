"""The command ``warren dev``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from warren.apps.dev.bench import Make
from warren.apps.dev.project import Project
from warren.apps.showing import as_json, cut, say, shown
from warren.connectors import memory, sqlite
from warren.core.admin import ERROR
from warren.core.wakeful import run

__all__ = ["dev"]


@click.command(
    epilog="\b\nExamples:\n  warren dev shop.flows:orders\n  warren dev flows.py:orders --samples orders.ndjson\n"
    "  warren dev flows.py:orders --queues dev.db     and look into it: warren dlq ls 'sqlite:dev.db?queue=orders.dead'"
)
@click.argument("pipeline")
@click.option(
    "--samples",
    "files",
    multiple=True,
    metavar="FILE",
    help="JSON lines as messages; SOURCE=FILE where there are several sources. Made from the sources' types otherwise.",
)
@click.option("--records", is_flag=True, help="The lines are as warren peek --json prints them.")
@click.option("--limit", type=click.IntRange(min=1), default=10, show_default=True, help="So many messages of each source.")
@click.option(
    "--queues", type=click.Path(dir_okay=False, path_type=Path), help="Keep the queues in this file; in memory otherwise."
)
@as_json
def dev(pipeline: str, files: tuple[str, ...], records: bool, limit: int, queues: Path | None, as_json: bool) -> None:
    """Run PIPELINE on the embedded broker with sample messages, anew whenever a file is saved.

    No broker, file or service that its sources and sinks name is touched: queues stand for its sources, and what comes to
    its sinks and dead letters is shown. Sources that end, such as files, are read up to the limit. What its steps call
    is called. A version that cannot be loaded is told, and the one before goes on.
    """
    from warren.apps.dev.session import Session

    project = Project(pipeline, [Path(each.partition("=")[2] or each) for each in files])
    loaded = project.load()

    def tell(to: str, value: Any, headers: Mapping[str, str]) -> None:
        if as_json:
            told = {"to": to, "value": shown(value)}
            say({**told, "error": headers[ERROR], "reason": headers.get("warren-reason", "")} if headers else told)
        elif headers:
            why = f"{headers[ERROR]}: {headers.get('warren-reason', '')} in {headers.get('warren-stage', '?')}"
            click.echo(f"{cut(to, 40)}  {cut(why, 200)}  {cut(_text(value), 200)}")
        else:
            click.echo(f"{cut(to, 40)}  {cut(_text(value), 200)}")

    async def main() -> None:
        session = Session(
            project,
            loaded,
            _queues(queues),
            files=files,
            records=records,
            limit=limit,
            tell=tell,
            say=lambda sentence: click.echo(f"warren: {sentence}", err=True),
        )
        click.echo(f"{loaded.name} runs on the embedded broker; it runs anew when a file is saved.", err=True)
        await session.run()

    run(main())


def _text(value: Any) -> str:
    held = shown(value)
    return held if isinstance(held, str) else repr(held)


def _queues(file: Path | None) -> Make:
    if file is not None:
        return lambda name, type: sqlite.queue(file, name, type)
    broker = memory.Broker()
    return lambda name, type: memory.queue(name, type, broker=broker)
