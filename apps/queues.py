"""``warren queues``: which queues there are, how they stand; make, empty and remove them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import click
import msgspec

from warren.apps.showing import as_json, say, table, yes
from warren.connectors import address as addresses
from warren.core.admin import Admin
from warren.core.clock import seconds
from warren.core.errors import AddressError, GraphError
from warren.core.health import QueueHealth
from warren.core.wakeful import run
from warren.core.words import plural

__all__ = ["confirmed", "named", "queues"]


def named(address: str) -> tuple[Admin, str]:
    """What looks after an address that names a queue. Raises `AddressError` where it names none."""
    admin, queue = addresses.admin(address)
    if not queue:
        raise AddressError(f"{addresses.parse(address).text}: which queue? add ?queue=NAME")
    return admin, queue


def confirmed(question: str, yes: bool) -> None:
    """Ask, unless the answer is given. Raises `AddressError` where nobody can be asked, and ends where the answer is no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise AddressError(f"{question}? Nobody can be asked, as this is no terminal; --yes says so beforehand")
    click.confirm(question, abort=True, err=True)


@click.group(
    epilog="\b\nExamples:\n  warren queues ls sqlite:///var/orders.db\n"
    "  warren queues depth amqp://me@host/shop?queue=orders\n"
    "  warren queues purge sqlite:///var/orders.db?queue=orders.dead --yes"
)
def queues() -> None:
    """See how the queues at ADDRESS stand, and change them."""


@queues.command()
@click.argument("address")
@as_json
def ls(address: str, as_json: bool) -> None:
    """List the queues at ADDRESS, or the one it names.

    RabbitMQ lists its queues over the management API alone: add ?management=http://user:password@host:15672.
    """
    _show(run(_look(address)), as_json)


@queues.command()
@click.argument("address")
@as_json
def depth(address: str, as_json: bool) -> None:
    """Print how many messages wait in a queue."""
    admin, queue = named(address)
    found = run(admin.queue(queue))
    if as_json:
        say({"name": queue, "depth": found.depth})
    else:
        click.echo(found.depth)


@queues.command()
@click.argument("address")
@click.option("--every", default="2s", show_default=True, help="How often to look.")
@click.option("--count", type=click.IntRange(min=1), help="Look so many times; else until Ctrl-C.")
@as_json
def watch(address: str, every: str, count: int | None, as_json: bool) -> None:
    """List the queues at ADDRESS again and again, until Ctrl-C."""
    pause = seconds(every)
    if pause < 0.1:
        raise GraphError(f"--every {every}: look less often than every 100ms")

    async def looking() -> None:
        done = 0
        while True:
            _show(await _look(address), as_json)
            done += 1
            if done == count:
                return
            await asyncio.sleep(pause)
            if not as_json:
                click.echo()

    run(looking())


@queues.command()
@click.argument("address")
@as_json
def create(address: str, as_json: bool) -> None:
    """Make the queue that ADDRESS names; durable, on RabbitMQ a quorum queue."""
    admin, queue = named(address)
    made = run(admin.create(queue))
    if as_json:
        say({"name": queue, "created": made})
    else:
        click.echo(f"Queue {queue!r} {'is made' if made else 'was there already'}.")


@queues.command()
@click.argument("address")
@yes
@as_json
def delete(address: str, yes: bool, as_json: bool) -> None:
    """Remove the queue that ADDRESS names, with all that is in it."""
    admin, queue = named(address)
    found = run(admin.queue(queue))
    confirmed(f"Remove queue {queue!r} and the {plural(found.depth or 0, 'message')} in it", yes)
    run(admin.delete(queue))
    if as_json:
        say({"name": queue, "deleted": True})
    else:
        click.echo(f"Queue {queue!r} is removed.")


@queues.command()
@click.argument("address")
@yes
@as_json
def purge(address: str, yes: bool, as_json: bool) -> None:
    """Remove the messages that wait in the queue that ADDRESS names; those that a worker holds stay."""
    admin, queue = named(address)
    found = run(admin.queue(queue))
    confirmed(f"Remove the {plural(found.depth or 0, 'message that waits', 'messages that wait')} in {queue!r}", yes)
    count = run(admin.purge(queue))
    if as_json:
        say({"name": queue, "purged": count})
    else:
        click.echo(f"{plural(count, 'message is', 'messages are')} removed from {queue!r}.")


async def _look(address: str) -> Sequence[QueueHealth]:
    admin, queue = addresses.admin(address)
    return [await admin.queue(queue)] if queue else await admin.queues()


def _show(found: Sequence[QueueHealth], as_json: bool) -> None:
    if as_json:
        for each in found:
            say(msgspec.to_builtins(each))
        return
    columns = ("depth", "unacked", "consumers")
    shown = [name for name in columns if any(getattr(each, name) is not None for each in found)]
    rows = [(each.name, *(_number(getattr(each, name)) for name in shown)) for each in found]
    table(("queue", *shown), rows)


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
