"""The capacity report: what recorded flows say of each queue, how long its consumers are enough, and what can be done."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from warren.analytics.report.contents import Queue, Report, Target
    from warren.analytics.report.files import render, write
    from warren.analytics.report.gather import capacity_report, parse_target
    from warren.analytics.report.prices import PriceList, read_prices
    from warren.analytics.report.review import read_report

__all__ = [
    "PriceList",
    "Queue",
    "Report",
    "Target",
    "capacity_report",
    "parse_target",
    "read_prices",
    "read_report",
    "render",
    "write",
]

_HOMES = {
    **dict.fromkeys(("Queue", "Report", "Target"), "contents"),
    **dict.fromkeys(("render", "write"), "files"),
    **dict.fromkeys(("capacity_report", "parse_target"), "gather"),
    **dict.fromkeys(("PriceList", "read_prices"), "prices"),
    "read_report": "review",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: Polars takes a while."""
    if name not in _HOMES:
        raise AttributeError(f"module 'warren.analytics.report' has no attribute {name!r}")
    return getattr(importlib.import_module(f"warren.analytics.report.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
