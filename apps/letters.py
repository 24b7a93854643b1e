"""``warren dlq``: look at dead letters, send them back to where they came from, or drop them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import click

from warren.apps.classes import classified, counted
from warren.apps.peek import careful, peeked
from warren.apps.queues import confirmed, named
from warren.apps.showing import age, as_json, body_of, cut, record, say, table, when, yes
from warren.apps.where import where
from warren.core.admin import ERROR, SOURCE, Admin, Chosen, Pace, Replayed
from warren.core.errors import AddressError
from warren.core.message import Metadata
from warren.core.wakeful import run
from warren.core.words import plural

__all__ = ["dlq"]

_REASON = 70


@click.group(
    epilog="\b\nExamples:\n  warren dlq ls sqlite:///var/orders.db?queue=orders.dead\n"
    "  warren dlq stats amqp://me@host/shop?queue=orders.dead\n"
    "  warren dlq replay ADDRESS --where 'error=TimeoutError age>1h' --rate 50 --dry-run"
)
def dlq() -> None:
    """Look at the dead letters in the queue that ADDRESS names, and repair what happened.

    A pipeline's dead letters are in NAME.dead, unless it says otherwise.
    """


@dlq.command()
@click.argument("address")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="List so many at most.")
@where
@yes
@as_json
def ls(address: str, limit: int, where: Chosen, yes: bool, as_json: bool) -> None:
    """List dead letters: id, age, where they came from, the kind of error, what happened."""
    admin, queue = named(address)
    careful(admin, queue, yes)

    async def look() -> list[Metadata]:
        async with aclosing(peeked(admin, queue, where, limit)) as letters:
            return [metadata async for metadata, _ in letters]

    found = run(look())
    classes = classified([each.headers for each in found])
    if as_json:
        for each, whose in zip(found, classes, strict=True):
            known = {"id": each.id, "key": each.key, "headers": dict(each.headers), "timestamp": each.timestamp}
            say({**known, "class": whose["class"], "kind": whose["kind"]})
    elif found:
        lines = [_row(each, whose["kind"]) for each, whose in zip(found, classes, strict=True)]
        table(("id", "age", "from", "stage", "kind", "error"), lines)
    else:
        click.echo("There are no such letters.", err=True)


def _row(letter: Metadata, kind: str | None) -> tuple[str, ...]:
    headers = letter.headers
    error = f"{headers.get(ERROR, '?')}: {headers.get('warren-reason', '')}"
    return (
        cut(letter.id, 40),
        age(_failed(letter)),
        cut(headers.get(SOURCE, "?"), 40),
        cut(headers.get("warren-stage", ""), 40),
        kind or "",
        cut(error, _REASON),
    )


def _failed(letter: Metadata) -> float:
    try:
        return float(letter.headers.get("warren-last-failed", letter.timestamp))
    except ValueError:
        return letter.timestamp


@dlq.command()
@click.argument("address")
@click.argument("letter")
@yes
@as_json
def show(address: str, letter: str, yes: bool, as_json: bool) -> None:
    """Show everything about the letter with the id LETTER, its body included."""
    admin, queue = named(address)
    careful(admin, queue, yes)

    async def find() -> tuple[Metadata, bytes] | None:
        async with aclosing(peeked(admin, queue, lambda each: each.id == letter, 1)) as letters:
            return await anext(letters, None)

    found = run(find())
    if found is None:
        raise AddressError(f"there is no letter {letter!r} in {queue!r}; warren dlq ls shows which there are")
    metadata, body = found
    (known,) = classified([metadata.headers])
    if as_json:
        say({**record(metadata, body), "class": known["class"], "kind": known["kind"]})
        return
    rows = [("id", metadata.id), ("key", metadata.key or ""), ("enqueued", when(metadata.timestamp))]
    rows += [("failed", when(_failed(metadata))), ("content type", metadata.content_type)]
    rows += [(name, known[name] or "") for name in ("class", "kind", "suggestion")]
    rows += sorted(metadata.headers.items())
    (held,) = body_of(body, metadata.content_type).values()
    for name, value in [*rows, ("body", held if isinstance(held, str) else repr(held))]:
        if value:
            click.echo(f"{cut(name, 40):20}  {cut(value, 4000)}")


@dlq.command()
@click.argument("address")
@click.option("--limit", type=click.IntRange(min=1), default=100_000, show_default=True, help="Look at so many at most.")
@click.option(
    "--flows",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder that the pipeline was recorded to: how often retries helped is seen there.",
)
@where
@yes
@as_json
def stats(address: str, limit: int, flows: Path | None, where: Chosen, yes: bool, as_json: bool) -> None:
    """Count letters by class of error, with what to do about each.

    Errors are of one class if they say much the same; without scikit-learn (the extra warren[ml]), if they are the same but
    for numbers, names and ids. A class is transient, overload, permanent or poison.
    """
    admin, queue = named(address)
    careful(admin, queue, yes)

    async def look() -> list[Mapping[str, str]]:
        async with aclosing(peeked(admin, queue, where, limit)) as letters:
            return [metadata.headers async for metadata, _ in letters if ERROR in metadata.headers]

    rows = counted(run(look()), flows)
    if as_json:
        for row in rows:
            say(row)
    elif rows:
        titles = ("class", "kind", "count", "retries helped", "by delay", "suggestion")
        table(titles if flows is not None else (*titles[:4], titles[5]), [_counted(row, flows is not None) for row in rows])
    else:
        click.echo("There are no such letters.", err=True)


def _counted(row: Mapping[str, Any], curves: bool) -> tuple[str, ...]:
    helped = f"{row['recovered']:,} of {row['retried']:,}" if row.get("retried") else ""
    curve = ", ".join(f"{each['delay_s']:.3g}s {each['success']:.0%}" for each in row["curve"])
    cells = (cut(row["class"], _REASON), row["kind"] or "", f"{row['count']:,}", helped, curve, row["suggestion"] or "")
    return cells if curves else (*cells[:4], cells[5])


@dlq.command()
@click.argument("address")
@click.option("--rate", type=float, help="So many a second at most.")
@click.option("--limit", type=click.IntRange(min=1), help="So many at most.")
@click.option("--dry-run", is_flag=True, help="Say what would go where, and do nothing.")
@where
@yes
@as_json
def replay(
    address: str, rate: float | None, limit: int | None, dry_run: bool, where: Chosen, yes: bool, as_json: bool
) -> None:
    """Send letters back to the queues they came from, as the messages they were.

    A letter goes once its message is safe in its queue. Interrupted in any way, run it again: what went is not there any
    more. In a SQLite file no message is there twice; on RabbitMQ those may be that were on their way, and it is said how
    many.
    """
    admin, queue = named(address)
    Pace(rate)
    careful(admin, queue, yes)
    if dry_run:
        _rehearse(admin, queue, where, limit, as_json)
        return
    waiting = run(admin.queue(queue)).depth
    if waiting:
        confirmed(f"Send letters of the {waiting:,} in {queue!r} back to where they came from", yes)
    done = run(admin.replay(queue, where, limit=limit, rate=rate, progress=_Twice()))
    if as_json:
        say({"moved": done.moved, "left": dict(done.left), "repeated": done.repeated})
        return
    click.echo(f"{plural(done.moved, 'letter')} went back.")
    for why, count in sorted(done.left.items()):
        click.echo(f"{count:,} stayed: {why}.")


class _Twice:
    """Says what may be there twice before it may be, as one that is killed says nothing at its end."""

    def __init__(self) -> None:
        self.told = 0

    def __call__(self, done: Replayed) -> None:
        if done.repeated > self.told:
            self.told = done.repeated
            click.echo(
                f"{plural(done.repeated, 'letter was', 'letters were')} handed out before; if to a replay, "
                "what they hold may be there twice.",
                err=True,
            )


def _rehearse(admin: Admin, queue: str, chosen: Chosen, limit: int | None, as_json: bool) -> None:
    async def look() -> Counter[str]:
        def letter(each: Metadata) -> bool:
            return ERROR in each.headers and chosen(each)

        async with aclosing(peeked(admin, queue, letter, limit)) as letters:
            return Counter([each.headers.get(SOURCE, "") async for each, _ in letters])

    found = run(look())
    if as_json:
        say({"would_move": dict(found)})
        return
    for source, count in sorted(found.items()):
        click.echo(f"{plural(count, 'letter')} would go back to {cut(source, 100)}.")
    if not found:
        click.echo("No letter would go back.")


@dlq.command()
@click.argument("address")
@where
@yes
@as_json
def drop(address: str, where: Chosen, yes: bool, as_json: bool) -> None:
    """Remove letters for good."""
    admin, queue = named(address)
    careful(admin, queue, yes)

    async def count() -> int:
        async with aclosing(peeked(admin, queue, where, None)) as letters:
            return sum([1 async for _ in letters])

    if not yes:
        confirmed(f"Remove {plural(run(count()), 'letter')} in {queue!r}, which cannot be brought back", yes)
    dropped = run(admin.drop(queue, where))
    if as_json:
        say({"dropped": dropped})
    else:
        click.echo(f"{plural(dropped, 'letter is', 'letters are')} removed.")
