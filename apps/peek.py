"""``warren peek``: look at the messages of a queue without taking them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import click

from warren.apps.queues import confirmed, named
from warren.apps.showing import age, as_json, body_of, cut, record, say, yes
from warren.apps.where import where
from warren.core.admin import Admin, Chosen
from warren.core.message import Metadata
from warren.core.wakeful import run

__all__ = ["careful", "peek", "peeked"]

_AHEAD = 1000


def careful(admin: Admin, queue: str, yes: bool) -> None:
    """Ask before a look that the messages may not survive, unless the answer is given."""
    if not yes and (caution := run(admin.caution(queue))):
        confirmed(f"{caution}. Look all the same", yes)


async def peeked(
    admin: Admin, queue: str, chosen: Chosen, limit: int | None
) -> AsyncGenerator[tuple[Metadata, bytes], None]:
    """The first so many of the waiting messages that are meant."""
    seen = 0
    async with aclosing(admin.peek(queue, min(limit or _AHEAD, _AHEAD))) as batches:
        async for batch in batches:
            for i in range(len(batch)):
                metadata = batch.metadata(i)
                if chosen(metadata):
                    yield metadata, batch.bodies[i]
                    seen += 1
                    if seen == limit:
                        return


@click.command(
    epilog="\b\nExamples:\n  warren peek sqlite:///var/orders.db?queue=orders\n"
    "  warren peek amqp://me@host/shop?queue=orders --where 'key=eu age>1h' --json"
)
@click.argument("address")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Show so many at most.")
@where
@yes
@as_json
def peek(address: str, limit: int, where: Chosen, yes: bool, as_json: bool) -> None:
    """Look at the messages that wait at ADDRESS, in their order, without taking them.

    Nothing changes in a SQLite file. RabbitMQ has to hand messages out to show them, and gets them back in their place;
    it marks them as redelivered, and a quorum queue counts that as a delivery: where it drops what it delivered too often,
    this asks first. Streams are read as they are.
    """
    admin, queue = named(address)
    careful(admin, queue, yes)

    async def show() -> int:
        shown = 0
        async with aclosing(peeked(admin, queue, where, limit)) as messages:
            async for metadata, body in messages:
                if as_json:
                    say(record(metadata, body))
                else:
                    _print(metadata, body)
                shown += 1
        return shown

    if not run(show()) and not as_json:
        click.echo("No such messages wait.", err=True)


def _print(metadata: Metadata, body: bytes) -> None:
    (held,) = body_of(body, metadata.content_type).values()
    parts = [cut(metadata.id, 40), age(metadata.timestamp) if metadata.timestamp else "?"]
    parts += [f"key={cut(metadata.key, 40)}"] if metadata.key is not None else []
    parts += [f"attempt={metadata.attempt}"] if metadata.attempt > 1 else []
    parts += [f"{cut(name, 40)}={cut(value, 40)}" for name, value in metadata.headers.items()]
    click.echo("  ".join(parts))
    click.echo(f"    {cut(held if isinstance(held, str) else repr(held), 200)}")
