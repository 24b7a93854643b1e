"""Detectors by name: those that packages add through the entry point group ``warren.detectors``."""

from __future__ import annotations

from typing import Any

from warren.core import plugins
from warren.core.errors import PluginError

__all__ = ["detector"]


def detector(name: str) -> Any:
    """The detector of that name, as its package gives it: a function or a class.

    Raises `PluginError` where there is none, where it does not load, and where several packages give one.

    >>> detector("storms")
    Traceback (most recent call last):
    ...
    warren.core.errors.PluginError: there is no detector 'storms'; known are none
    """
    found = plugins.find("detector", name)
    if found is None:
        known = ", ".join(plugins.names("detector")) or "none"
        raise PluginError(f"there is no detector {name!r}; known are {known}")
    return found
