"""``warren plugins``: what other packages add, and whether it can be used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import version

import click

from warren.apps.showing import as_json, say, table
from warren.core import codecs
from warren.core.errors import PluginError
from warren.core.plugins import OWN, Plugin, choose, installed

__all__ = ["plugins", "state"]

_TITLES = ("kind", "name", "from", "version", "state")


@click.command(epilog="\b\nExamples:\n  warren plugins\n  warren plugins --all")
@click.option("--all", "everything", is_flag=True, help="Also show what warren brings itself.")
@as_json
def plugins(everything: bool, as_json: bool) -> None:
    """List the plugins that are installed.

    Operators, connectors, codecs and detectors of other packages: where each is from, and whether it loads.
    """
    known = [*_built_in(), *installed()]
    shown = [plugin for plugin in known if everything or plugin.distribution != OWN]
    shown.sort(key=lambda plugin: (plugin.kind, plugin.name))
    if as_json:
        for plugin in shown:
            say(dict(zip(_TITLES, _row(plugin, known), strict=True)))
        return
    if not shown:
        click.echo("No package adds anything to warren here; warren plugins --all shows what it brings itself.")
        return
    table(_TITLES, [_row(plugin, known) for plugin in shown])


def _built_in() -> Iterator[Plugin]:
    from warren import operators

    for name in operators.__all__:
        # Beside the operators stands what they are given, such as windows.
        if getattr(getattr(operators, name), "__module__", "") == f"warren.operators.{name}":
            yield Plugin("operator", name, f"warren.operators:{name}")
    yield from codecs.BUILT_IN


def _row(plugin: Plugin, known: Iterable[Plugin]) -> tuple[str, ...]:
    own = plugin.distribution == OWN
    return plugin.kind, plugin.name, plugin.distribution, version(OWN) if own else plugin.version, state(plugin, known)


def state(plugin: Plugin, known: Iterable[Plugin]) -> str:
    """Whether a plugin loads, and where it is not used, why."""
    if plugin.fault:
        return f"does not load: {plugin.fault}"
    notes = []
    a = "an" if plugin.kind == "operator" else "a"
    for purpose in _purposes(plugin):
        rivals = [other for other in known if other.kind == plugin.kind and purpose in _purposes(other)]
        try:
            if choose(purpose, rivals) is not plugin:
                notes.append(f"warren has {a} {plugin.kind} for {purpose}")
        except PluginError as error:
            notes.append(str(error))
    return f"not used: {'; '.join(notes)}" if notes else "loads"


def _purposes(plugin: Plugin) -> list[str]:
    """What it is found by."""
    if plugin.kind != "codec":
        return [plugin.name]
    return [] if plugin.fault else list(plugin.load().content_types)
