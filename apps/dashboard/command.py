"""What the command line takes to show a pipeline at work."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import click

from warren.connectors import address as addresses
from warren.core.errors import AddressError
from warren.core.wakeful import run
from warren.pipelines import Pipeline

if TYPE_CHECKING:
    from warren.analytics.probes import Place
    from warren.apps.dashboard.access import Access

__all__ = ["dashboard", "shown", "shown_while"]

F = TypeVar("F", bound=Callable[..., Any])

TOKEN = "WARREN_DASHBOARD_TOKEN"
_OF_EXCHANGES = ("exchange", "routing_key", "kind", "passive", "persistent")

allow_changes = click.option("--allow-changes", is_flag=True, help="The dashboard may replay and drop dead letters.")


def shown(command: F) -> F:
    """The options of a command that runs a pipeline which is to be seen."""
    for option in (
        allow_changes,
        click.option("--report-to", metavar="ADDRESS", help="Report each second to where warren dashboard ADDRESS reads."),
        click.option("--dashboard", metavar="HOST:PORT", help="Show it at work on a page here; :8080 is this machine only."),
    ):
        command = option(command)
    return command


@contextmanager
def shown_while(pipeline: Pipeline, dashboard: str | None, report_to: str | None, allow_changes: bool) -> Iterator[Pipeline]:
    """The pipeline to run in place of this one, so that it is seen as the options say."""
    if report_to is not None:
        from warren.apps.dashboard import reported

        pipeline = reported(pipeline, report_to)
    if dashboard is None:
        yield pipeline
        return
    from warren.analytics.probes import place
    from warren.apps.dashboard.beside import beside

    at = place(dashboard, "a dashboard")
    access, told = access_for(at, allow_changes)
    with beside(pipeline, at, access) as (observed, address):
        click.echo(f"The dashboard is at {address}{told}", err=True)
        yield observed


@click.command(
    epilog="\b\nExamples:\n  warren dashboard amqp://me@host/shop?exchange=warren.reports\n"
    "  warren dashboard sqlite:///var/reports.db?queue=reports --queues sqlite:///var/orders.db\n"
    "  warren run shop.flows:orders --report-to amqp://me@host/shop?exchange=warren.reports"
)
@click.argument("address")
@click.option("--listen", metavar="HOST:PORT", default=":8080", show_default=True, help="Without HOST this machine only.")
@click.option("--queues", metavar="ADDRESS", multiple=True, help="Show the queues here too, beside those at ADDRESS.")
@click.option("--flows", metavar="FOLDER", help="Show the hours of the recordings in this folder, and the next day.")
@allow_changes
def dashboard(address: str, listen: str, queues: tuple[str, ...], flows: str | None, allow_changes: bool) -> None:
    """Show the pipelines that report to ADDRESS on a page, until Ctrl-C.

    Workers report with warren run --report-to ADDRESS. Beyond this machine a token is needed: WARREN_DASHBOARD_TOKEN, or one
    that is made up and printed. Nothing can be changed from the page unless it is allowed.
    """
    from warren.analytics.probes import place
    from warren.apps.dashboard.hub import Hub
    from warren.apps.dashboard.queues import Queues, admins_at
    from warren.apps.dashboard.server import Server
    from warren.apps.dashboard.telling import inlet
    from warren.apps.dashboard.telling import listen as listening

    at = place(listen, "a dashboard")
    access, told = access_for(at, allow_changes)
    inlet(address)
    with contextlib.suppress(AddressError):
        queues = (_broker_of(address), *queues)
    hub = Hub()
    recorded = None
    if flows is not None:
        from warren.apps.dashboard.recorded import Recorded

        recorded = Recorded(flows)
    server = Server(hub, Queues(admins_at(queues), hub.queues), at, access, recorded)

    async def serve() -> None:
        await server.start()
        ending = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):
                asyncio.get_running_loop().add_signal_handler(number, ending.set)
        click.echo(f"The dashboard is at {server.address}{told}", err=True)
        reading = asyncio.ensure_future(listening(address, hub))
        await asyncio.wait((reading, asyncio.ensure_future(ending.wait())), return_when=asyncio.FIRST_COMPLETED)
        reading.cancel()
        await asyncio.wait((reading,))
        await server.close()
        if not reading.cancelled():
            reading.result()

    run(serve())


def _broker_of(address: str) -> str:
    """The address of the broker or file that has the queue or exchange; raises `AddressError` where it shows no queues."""
    parts = urlsplit(address)
    options = [pair for pair in parse_qsl(parts.query) if pair[0] not in _OF_EXCHANGES]
    found = urlunsplit(parts._replace(query=urlencode(options)))
    addresses.admin(found)
    return found


def access_for(at: Place, changes: bool) -> tuple[Access, str]:
    """Who may look there, and what belongs behind the address that people are told; a token is made where none is set."""
    from warren.apps.dashboard.access import Access, is_loopback

    token, told = os.environ.get(TOKEN) or None, "/"
    if token is None and not is_loopback(at.host):
        token = secrets.token_urlsafe(24)
        told = f"/#token={token}"
    return Access(at, token, changes=changes), told
