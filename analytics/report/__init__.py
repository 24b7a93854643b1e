"""The capacity report: what recorded flows say of each queue, how long its consumers are enough, and what can be done."""

from typing import TYPE_CHECKING

from warren.core.lazy import lazily

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
    **dict.fromkeys(("Queue", "Report", "Target"), "warren.analytics.report.contents"),
    **dict.fromkeys(("render", "write"), "warren.analytics.report.files"),
    **dict.fromkeys(("capacity_report", "parse_target"), "warren.analytics.report.gather"),
    **dict.fromkeys(("PriceList", "read_prices"), "warren.analytics.report.prices"),
    "read_report": "warren.analytics.report.review",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
