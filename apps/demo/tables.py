"""The tables the demonstration prints."""

from __future__ import annotations

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from warren.apps.demo.totals import Totals
from warren.apps.demo.traffic import Traffic
from warren.apps.demo.unusual import CANCELLED_MINUTES, worst

__all__ = ["show"]


def show(console: Console, totals: Totals, traffic: Traffic, scored: pl.DataFrame) -> None:
    """Print what went in and came out, where it came out, and the hours unlike others."""
    for table in (_messages(totals, traffic), _airports(totals), _unusual(scored)):
        console.print()
        console.print(table)
    if totals.problems:
        console.print(f"[bold red]does not add up:[/] {'; '.join(totals.problems)}")
    else:
        console.print(
            f"\n[bold green]reconciled[/]: {totals.messages:,} in = {totals.out:,} out + {totals.dead_lettered:,} "
            f"dead-lettered,\nand every airport has all its flights"
        )


def _messages(totals: Totals, traffic: Traffic) -> Table:
    table = Table(title="Messages", title_justify="left", show_header=False, box=box.SIMPLE)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("in", f"{totals.messages:,}")
    table.add_row("out, as departures in hourly rows", f"{totals.out:,}")
    table.add_row("dead-lettered", f"{totals.dead_lettered:,}")
    for reason, count in totals.dead.items():
        table.add_row(Text(f"  {reason}", overflow="ellipsis", no_wrap=True), f"{count:,}")
    table.add_row("retried", f"{traffic.retried:,}")
    table.add_row("written twice after a restart, counted once", f"{totals.again + totals.dead_again:,}")
    table.add_section()
    table.add_row("throughput", f"{traffic.rate:,.0f} messages/s")
    table.add_row("latency p50", f"{traffic.p50:,.0f} ms")
    table.add_row("latency p99", f"{traffic.p99:,.0f} ms")
    return table


def _airports(totals: Totals) -> Table:
    table = Table(title="By airport", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("airport")
    for name in ("departures", "cancelled", "undecodable", "together", "in the package"):
        table.add_column(name, justify="right")
    for row in totals.airports.iter_rows(named=True):
        counts = [row["departures"], row["cancelled"], row["undecodable"]]
        table.add_row(row["airport"], *(f"{count:,}" for count in [*counts, sum(counts), row["messages"]]))
    return table


def _unusual(scored: pl.DataFrame) -> Table:
    table = Table(
        title="The ten most unusual hours: the worst of each day",
        caption=f"Score: how far the mean delay lies above the usual of that hour of the week\n(robust z-score; a cancelled "
        f"flight counts as {CANCELLED_MINUTES // 60} hours late). Alike: hours of that day above 6.",
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    table.add_column("New York", no_wrap=True)
    for name in ("flights", "cancelled", "delay", "sight", "wind", "score", "alike"):
        table.add_column(name, justify="right")
    for row in worst(scored).iter_rows(named=True):
        table.add_row(
            f"{row['hour']:%d %b %H:00}",
            f"{row['flights']:,}",
            f"{row['cancelled']:,}",
            _figure(row["delay"] if row["departures"] else None, "{:.0f} min"),
            _figure(row["visibility"], "{:.1f} mi"),
            _figure(row["wind"], "{:.0f} mph"),
            f"{row['score']:.1f}",
            f"{row['alike']:,}",
        )
    return table


def _figure(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)
