"""``warren health``: how a running pipeline fares, or the queues of a broker or a file."""

from __future__ import annotations

import asyncio
import re
import urllib.error
import urllib.request
from collections.abc import Mapping

import click
import msgspec

from warren.apps.showing import as_json, cut, lasting, say, table
from warren.connectors import address as addresses
from warren.core.admin import Admin
from warren.core.clock import seconds
from warren.core.errors import BrokerError, GraphError
from warren.core.health import Health, QueueHealth, Rates
from warren.core.wakeful import run

__all__ = ["health"]

_PLACE = re.compile(r"(\[[\da-fA-F:]+\]|[\w.-]*):\d+")
_ANSWER = 10.0
NOT_READY = 3


@click.command(
    epilog="\b\nExamples:\n  warren health :9100\n  warren health https://worker-1.example:9100 --json\n"
    "  warren health 'amqp://me@host/shop?queue=orders'"
)
@click.argument("target")
@click.option("--during", default="1s", show_default=True, help="How long to watch queues for their rates.")
@as_json
def health(target: str, during: str, as_json: bool) -> None:
    """Say how TARGET fares: a pipeline that runs with --metrics HOST:PORT, or a queue address.

    Whether it lives and is ready, and for each queue its depth, consumers, rates, and when it will be empty.
    Exit code 0 where all is well, 1 where it does not live or cannot be reached, 3 where it is not ready.
    """
    watched = seconds(during)
    if not 0.1 <= watched <= 3600:
        raise GraphError(f"--during {during}: watch for between 100ms and 1h")
    admin = None
    if target.startswith(("http://", "https://")):
        found = _asked(target)
    elif _PLACE.fullmatch(target):
        found = _asked(f"http://{'127.0.0.1' if target.startswith(':') else ''}{target}")
    else:
        admin, queue = addresses.admin(target)
        found = run(_watched(addresses.parse(target).text, admin, queue, watched))
    if as_json:
        say(msgspec.to_builtins(found))
    else:
        _print(found, watched=admin is not None)
    if not found.live:
        raise click.exceptions.Exit(1)
    if not found.ready:
        raise click.exceptions.Exit(NOT_READY)


def _asked(place: str) -> Health:
    """What a pipeline says of itself."""
    place = place.rstrip("/")
    for probe in ("/live", "/ready", "/metrics"):
        place = place.removesuffix(probe)
    try:
        with urllib.request.urlopen(f"{place}/live", timeout=_ANSWER) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        # One that does not live says so, and why, with an error.
        text = error.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise BrokerError(f"nothing answers at {place}: {reason}; run the pipeline with --metrics HOST:PORT") from error
    try:
        return msgspec.json.decode(text, type=Health)
    except msgspec.MsgspecError as error:
        raise BrokerError(f"what answers at {place} is no pipeline of warren; give what --metrics says") from error


async def _watched(place: str, admin: Admin, queue: str, during: float) -> Health:
    """What two looks at queues tell."""

    async def look() -> Mapping[str, QueueHealth]:
        found = [await admin.queue(queue)] if queue else await admin.queues()
        return {each.name: each for each in found}

    loop = asyncio.get_running_loop()
    before, start = await look(), loop.time()
    await asyncio.sleep(during)
    after, end = await look(), loop.time()
    queues: list[QueueHealth] = []
    reasons: list[str] = []
    for name, now in after.items():
        rates = Rates()
        rates.at(start, growth=_held(before[name]) if name in before else None)
        growth = rates.at(end, growth=_held(now)).get("growth")
        rest = _held(now)
        drain = 0.0 if rest == 0 else rest / -growth if rest and growth is not None and growth < 0 else None
        queues.append(msgspec.structs.replace(now, growth=growth, drain=drain))
        if now.depth and now.consumers == 0:
            reasons.append(f"nobody reads {name!r}")
    return Health(name=place, queues=tuple(queues), reasons=tuple(reasons))


def _held(queue: QueueHealth) -> int | None:
    return None if queue.depth is None else queue.depth + (queue.unacked or 0)


_COLUMNS = ("queue", "depth", "unacked", "consumers", "in/s", "out/s", "growth/s", "empty in")


def _print(found: Health, watched: bool) -> None:
    state = "does not live"
    if found.live:
        state = "answers" if watched else "is live and ready" if found.ready else "is live, but not ready"
    click.echo(f"{cut(found.name, 200)} {state}.")
    for reason in found.reasons:
        click.echo(f"  {cut(reason, 1000)}")
    if found.reconnects or found.unconfirmed or found.breaker != "closed":
        click.echo(f"  reconnects {found.reconnects}, unconfirmed {found.unconfirmed}, circuit {found.breaker}")
    if found.queues:
        table(_COLUMNS, [_row(each) for each in found.queues])


def _row(queue: QueueHealth) -> tuple[str, ...]:
    def number(value: float | None, form: str = ",.0f") -> str:
        return "?" if value is None else f"{value:{form}}"

    counts = (number(each) for each in (queue.depth, queue.unacked, queue.consumers))
    rates = (number(each, ",.1f") for each in (queue.published, queue.acknowledged))
    growth = number(queue.growth, "+,.1f")
    return cut(queue.name, 60), *counts, *rates, growth, "?" if queue.drain is None else lasting(queue.drain)
