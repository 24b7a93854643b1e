"""What the command line takes to show a pipeline at work."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from warren.pipelines import Pipeline

if TYPE_CHECKING:
    from warren.analytics.probes import Place
    from warren.apps.dashboard.access import Access

__all__ = ["shown", "shown_while"]

F = TypeVar("F", bound=Callable[..., Any])

TOKEN = "WARREN_DASHBOARD_TOKEN"

allow_changes = click.option("--allow-changes", is_flag=True, help="The dashboard may replay and drop dead letters.")


def shown(command: F) -> F:
    """The options of a command that runs a pipeline which is to be seen."""
    for option in (
        allow_changes,
        click.option("--dashboard", metavar="HOST:PORT", help="Show it at work on a page here; :8080 is this machine only."),
    ):
        command = option(command)
    return command


@contextmanager
def shown_while(pipeline: Pipeline, dashboard: str | None, allow_changes: bool) -> Iterator[Pipeline]:
    """The pipeline to run in place of this one, so that it is seen as the options say."""
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


def access_for(at: Place, changes: bool) -> tuple[Access, str]:
    """Who may look there, and what belongs behind the address that people are told; a token is made where none is set."""
    from warren.apps.dashboard.access import Access, is_loopback

    token, told = os.environ.get(TOKEN) or None, "/"
    if token is None and not is_loopback(at.host):
        token = secrets.token_urlsafe(24)
        told = f"/#token={token}"
    return Access(at, token, changes=changes), told
