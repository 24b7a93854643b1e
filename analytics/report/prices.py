"""What things cost, read from a small TOML or JSON file."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import msgspec

from warren.analytics.capacity import Prices
from warren.core.errors import DataError, StorageError

__all__ = ["CONSUMER_HOURS", "PriceList", "read_prices"]


class _Figures(msgspec.Struct, forbid_unknown_fields=True):
    consumer_hour: float
    start: float = 0.0
    million: float = 0.0
    fixed_hour: float = 0.0


class _File(_Figures, forbid_unknown_fields=True):
    currency: str = ""
    pipelines: dict[str, _Figures] = {}


class PriceList:
    """The currency, and the prices of each pipeline.

    >>> CONSUMER_HOURS.currency, CONSUMER_HOURS.of("orders").consumer_hour
    ('consumer-hours', 1.0)
    """

    def __init__(self, currency: str, usual: Prices, pipelines: dict[str, Prices]) -> None:
        self.currency = currency
        self._usual, self._pipelines = usual, pipelines

    def of(self, pipeline: str) -> Prices:
        """The prices of a pipeline: its own where the file names it."""
        return self._pipelines.get(pipeline, self._usual)


CONSUMER_HOURS = PriceList("consumer-hours", Prices(consumer_hour=1.0), {})
"""Where no prices are known, an hour of a consumer costs one."""


def read_prices(path: str | os.PathLike[str]) -> PriceList:
    """Read a price file, ``.toml`` or ``.json``: docs/capacity-report.md shows one.

    Raises `StorageError` where it cannot be read, `DataError` where it holds something else.
    """
    file = Path(path)
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"the prices in {file} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        values = msgspec.json.decode(text) if file.suffix.lower() == ".json" else tomllib.loads(text)
        found = msgspec.convert(values, _File)
        pipelines = {name: _prices(each) for name, each in found.pipelines.items()}
        return PriceList(found.currency, _prices(found), pipelines)
    except (ValueError, DataError) as error:  # what TOML and msgspec raise are ValueErrors
        raise DataError(
            f"the prices in {file}: {error}; write 'consumer_hour = 0.04', and see docs/capacity-report.md"
        ) from error


def _prices(figures: _Figures) -> Prices:
    return Prices(figures.consumer_hour, figures.start, figures.million, figures.fixed_hour)
