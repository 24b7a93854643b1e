"""Plugins: what other packages add to warren, through entry points that are read from what is installed.

====================== ========================================= =========================================
group                  what an entry point's value is            how it is reached
====================== ========================================= =========================================
``warren.operators``   an operator, or a function that makes one ``from warren.operators import NAME``
``warren.connectors``  an object with ``source`` and ``sink``    by an address with the scheme ``NAME``
``warren.codecs``      a codec, or a class of one                by the content types that it reads
``warren.detectors``   a function or a class                     ``warren.analytics.detector(NAME)``
``warren.forecasters`` a function or a class that makes one      ``warren.analytics.forecasts.find(NAME)``
====================== ========================================= =========================================

A plugin is imported when it is first asked for, and no sooner. One that is broken, or named as another one, is an error for
whoever asks for it and for nobody else; what warren brings itself always comes first.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any

from warren.core.errors import PluginError

__all__ = ["KINDS", "Plugin", "choose", "find", "installed", "names"]

OWN = "warren"


def _has(*members: str) -> Callable[[Any], bool]:
    return lambda value: all(hasattr(value, member) for member in members)


KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "operator": (
        "an operator, or a function that makes one",
        lambda value: callable(value) or _has("attach", "steps")(value),
    ),
    "connector": ("an object with source(address, type) and sink(address)", _has("source", "sink")),
    "codec": (
        "a codec, with content_types, decoder and encoder, or a class of one",
        lambda value: _has("decoder", "encoder")(value) and all(isinstance(each, str) for each in value.content_types),
    ),
    "detector": ("a function or a class", callable),
    "forecaster": ("a function or a class that makes a forecaster", callable),
}
"""The kinds of plugins: what the value of an entry point has to be, in words and as a check."""


class Plugin:
    """One entry point: a name for something in a package, not imported until it is asked for."""

    def __init__(self, kind: str, name: str, value: str, distribution: str = OWN, version: str = "") -> None:
        self.kind = kind
        self.name = name
        self.value = value
        self.distribution = distribution
        self.version = version
        self._fault: str | None = None
        self._loaded: Any = None

    def __repr__(self) -> str:
        """What it is, and where it is from."""
        return f"the {self.kind} {self.name!r} of {self.origin}"

    @property
    def origin(self) -> str:
        """The distribution that it is from, with its version."""
        return f"{self.distribution} {self.version}".strip()

    @property
    def fault(self) -> str:
        """Why it cannot be used; empty where it can. This imports it."""
        if self._fault is None:
            try:
                self._loaded, self._fault = self._load(), ""
            except (Exception, SystemExit) as error:
                self._fault = " ".join(f"{type(error).__name__}: {error}".split())
        return self._fault

    def _load(self) -> Any:
        wanted, fits = KINDS[self.kind]
        value = EntryPoint(self.name, self.value, f"warren.{self.kind}s").load()
        if self.kind == "codec" and isinstance(value, type):
            value = value()
        if not fits(value):
            raise TypeError(f"{self.value} is not {wanted}")
        return value

    def load(self) -> Any:
        """What it stands for. Raises `PluginError` where that cannot be imported or is not what its kind has to be."""
        if self.fault:
            raise PluginError(f"{self!r} does not load: {self.fault}; repair or uninstall {self.distribution}")
        return self._loaded


def installed(kind: str | None = None) -> Sequence[Plugin]:
    """The plugins of a kind, or all, in the order of their names; none is imported. What warren brings comes first."""
    found = _installed(tuple(sys.path))
    return found if kind is None else [plugin for plugin in found if plugin.kind == kind]


def names(kind: str) -> list[str]:
    """The names of the plugins of a kind, sorted."""
    return sorted({plugin.name for plugin in installed(kind)})


def choose(purpose: str, plugins: Sequence[Plugin]) -> Plugin | None:
    """The one to use of plugins for one purpose: warren's own, or the only one there is.

    Raises `PluginError` where there are several.

    >>> choose("XML", [Plugin("codec", "xml", "a:xml", "a", "1.0"), Plugin("codec", "xml", "warren.core.codecs:Xml")])
    the codec 'xml' of warren
    """
    own = [plugin for plugin in plugins if plugin.distribution == OWN]
    if own or len(plugins) <= 1:
        return next(iter(own or plugins), None)
    origins = " and ".join(plugin.origin for plugin in plugins)
    raise PluginError(f"{purpose} is given by {origins}; uninstall all of them but one")


def find(kind: str, name: str) -> Any:
    """What the plugin of a name stands for, or ``None`` where there is no such plugin.

    Raises `PluginError` where it does not load, or several packages give one.
    """
    plugin = choose(f"the {kind} {name!r}", [plugin for plugin in installed(kind) if plugin.name == name])
    return None if plugin is None else plugin.load()


@functools.lru_cache(maxsize=4)
def _installed(path: tuple[str, ...]) -> tuple[Plugin, ...]:
    """What is installed on an import path. Reading it takes a while, and a package comes seldom while a program runs."""
    plugins: list[Plugin] = []
    seen: set[str] = set()
    for distribution in distributions(path=list(path)):
        found = list(_plugins_of(distribution))
        # As for imports, the first on the path is the one that counts.
        if found and found[0].distribution.lower() not in seen:
            seen.add(found[0].distribution.lower())
            plugins += found
    return tuple(sorted(plugins, key=lambda plugin: (plugin.kind, plugin.name, plugin.distribution != OWN, plugin.origin)))


def _plugins_of(distribution: Distribution) -> Iterator[Plugin]:
    try:
        # Most have none, and their metadata need not be parsed to know that.
        if "[warren." not in (distribution.read_text("entry_points.txt") or ""):
            return
        entries, name, version = list(distribution.entry_points), distribution.metadata["Name"], distribution.version
    except Exception:
        # What one distribution has written down wrongly is nothing that the others should suffer from.
        return
    groups = {f"warren.{kind}s": kind for kind in KINDS}
    for entry in entries:
        if entry.group in groups:
            yield Plugin(groups[entry.group], entry.name, entry.value, name, version)
