"""The page with the plots: one file that needs no network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from warren.apps.demo.data import NEW_YORK, require
from warren.apps.demo.plots import dead, hours, latency, routes, seconds
from warren.apps.demo.totals import Totals
from warren.apps.demo.traffic import Traffic
from warren.apps.demo.unusual import CANCELLED_MINUTES, worst
from warren.core.atomic import writing

__all__ = ["write"]

_BLANK = re.compile(r"\{\{(\w+)\}\}")


def write(page: Path, totals: Totals, traffic: Traffic, scored: pl.DataFrame) -> None:
    """Write the page. Every text that came from a message is escaped.

    Raises `AddressError` where the plotting library is not installed.
    """
    ten = worst(scored)
    local = totals.hours.with_columns(pl.col("hour").dt.convert_time_zone(NEW_YORK))
    plots = {
        "hours": hours(local, scored, ten),
        "latency": latency(traffic),
        "seconds": seconds(traffic),
        "routes": routes(totals),
        "dead": dead(totals),
    }
    parts = {
        "lead": _lead(totals),
        "tiles": _tiles(totals, traffic),
        "explained": "The worst hour of each day. The score says how far the mean delay lies above what is usual at that "
        f"hour of the week (a robust z-score; a cancelled flight counts as {CANCELLED_MINUTES // 60} hours late); "
        "alike are the hours of that day with a score above 6.",
        "unusual": _table(ten),
        "latency": f"From receiving a message until what came of it is safe: half within {traffic.p50:,.0f} ms, 99 % within "
        f"{traffic.p99:,.0f} ms. Most of it is the wait for the hour to be complete and its batch to be written.",
        "plots": _json(plots),
        "plotly": (require("plotly") / "package_data" / "plotly.min.js").read_text("utf-8"),
    }
    template = Path(__file__).with_name("page.html").read_text("utf-8")
    # One pass: what is filled in is not looked at again, whatever it holds.
    text = _BLANK.sub(lambda blank: parts[blank[1]], template)
    with writing(page) as file:
        file.write_text(text, "utf-8")


def _json(value: Any) -> str:
    # Inside a script element nothing may look like a tag.
    return msgspec.json.encode(value).decode().replace("<", "\\u003c")


def _lead(totals: Totals) -> str:
    account = (
        '<span class="good">Every message is accounted for.</span>'
        if not totals.problems
        else f'<span class="bad">The account does not add up: {escape("; ".join(totals.problems))}.</span>'
    )
    return (
        f"{totals.messages:,} flights scheduled from New York in 2013, each a message: {totals.out:,} came out as "
        f"departures in hourly rows, {totals.dead_lettered:,} are dead letters. {account}"
    )


def _tiles(totals: Totals, traffic: Traffic) -> str:
    tiles = [
        ("messages in", f"{totals.messages:,}"),
        ("out", f"{totals.out:,}"),
        ("dead-lettered", f"{totals.dead_lettered:,}"),
        ("retried", f"{traffic.retried:,}"),
        ("written twice, counted once", f"{totals.again + totals.dead_again:,}"),
        ("messages a second", f"{traffic.rate:,.0f}"),
    ]
    return "".join(f'<div class="tile"><b>{value}</b><span>{name}</span></div>' for name, value in tiles)


def _table(ten: pl.DataFrame) -> str:
    head = ("", "hour in New York", "flights", "cancelled", "mean delay", "usual", "visibility", "wind", "score", "alike")
    rows = [
        (
            f"{number}",
            f"{row['hour']:%A, %d %B, %H:00}",
            f"{row['flights']:,}",
            f"{row['cancelled']:,}",
            _figure(row["delay"] if row["departures"] else None, "{:.0f} min"),
            _figure(row["usual"], "{:.0f} min"),
            _figure(row["visibility"], "{:.1f} mi"),
            _figure(row["wind"], "{:.0f} mph"),
            f"{row['score']:.1f}",
            f"{row['alike']:,}",
        )
        for number, row in enumerate(ten.iter_rows(named=True), 1)
    ]
    return f"<table><thead>{_row(head, 'th')}</thead><tbody>{''.join(_row(row, 'td') for row in rows)}</tbody></table>"


def _row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _figure(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)
