"""Public names of a package that are imported when they are first used."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["lazily"]


def lazily(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` for a package whose public names have these modules as their homes.

    Importing it stays cheap: what is slow to import (Arrow, Polars, scikit-learn) is imported by those who use it.

    >>> get, names = lazily("shop", {"Decimal": "decimal"})
    >>> get("Decimal")("1.50"), names()
    (Decimal('1.50'), ['Decimal'])
    >>> get("Fraction")
    Traceback (most recent call last):
    AttributeError: module 'shop' has no attribute 'Fraction'
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(homes[name]), name)

    return get, lambda: sorted(homes)
