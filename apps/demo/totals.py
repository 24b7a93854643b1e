"""What came of a run: everything that went in, against everything that came out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from warren.apps.demo.broker import Letter
from warren.apps.demo.publish import number

__all__ = ["Totals", "reason", "reconcile"]

_DECODING = re.compile(r"cannot be decoded: (.*?)(?: \(byte \d+\))?(?:; (?:the|from) .*)?$", re.DOTALL)
_HOURS: dict[str, pl.DataType | type[pl.DataType]] = {
    "key": pl.String,
    "start": pl.Float64,
    "departures": pl.Int64,
    "delay": pl.Float64,
    "delay_p50": pl.Float64,
    "delay_p90": pl.Float64,
    "visibility": pl.Float64,
    "wind": pl.Float64,
    "flights": pl.List(pl.Int64),
}


class Totals(NamedTuple):
    """The account of a run. ``hours`` has one row for each airport and hour; ``problems`` is empty where all adds up."""

    messages: int
    out: int
    dead: dict[str, int]
    airports: pl.DataFrame
    again: int
    dead_again: int
    hours: pl.DataFrame
    problems: list[str]

    @property
    def dead_lettered(self) -> int:
        """How many messages are dead letters."""
        return sum(self.dead.values())


def reason(letter: Letter) -> str:
    """Why a message is a dead letter, in the same words for all of a kind.

    >>> reason(Letter(b"", "DecodeError", "q: a message cannot be decoded: Expected `int` (byte 9); the body is b''"))
    'undecodable: Expected `int`'
    >>> reason(Letter(b"", "RejectedError", "cancelled"))
    'cancelled'
    """
    if letter.error == "DecodeError" and (found := _DECODING.search(letter.reason)):
        return f"undecodable: {found[1]}"
    return letter.reason if letter.error == "RejectedError" else letter.error


def reconcile(flights: pl.DataFrame, folder: Path, letters: Sequence[Letter]) -> Totals:
    """Account for each flight: it is in the hours of its airport or among the dead letters, whatever was written twice."""
    rows = _rows(folder)
    told = rows.select("key", id="flights").explode("id").drop_nulls()
    left = told.unique("id")
    dead: dict[int, str] = {}
    nameless = 0
    for letter in letters:
        if (id := number(letter.body)) is None:
            nameless += 1
        else:
            dead.setdefault(id, reason(letter))
    lost_letters = pl.DataFrame({"id": list(dead), "reason": list(dead.values())}, {"id": pl.Int64, "reason": pl.String})
    both = lost_letters.join(left, on="id", how="semi").height
    lost_letters = lost_letters.join(left, on="id", how="anti")
    known = flights.select(pl.col("id").cast(pl.Int64), "origin", "scheduled", gone=pl.col("dep_time").is_null())
    ended = known.join(left, on="id", how="left").join(lost_letters, on="id", how="left")
    return Totals(
        messages=flights.height,
        out=left.height,
        dead=dict(Counter(lost_letters["reason"].to_list()).most_common()),
        airports=_airports(ended),
        again=told.height - left.height,
        dead_again=len(letters) - lost_letters.height - nameless,
        hours=_hours(rows, ended),
        problems=_problems(ended, nameless, both, left.height + lost_letters.height),
    )


def _airports(ended: pl.DataFrame) -> pl.DataFrame:
    """For each airport, what the package has of it and where that came out."""
    cancelled = pl.col("reason") == "cancelled"
    return (
        ended.group_by(airport="origin")
        .agg(
            messages=pl.len(),
            departures=(pl.col("key") == pl.col("origin")).sum(),
            cancelled=cancelled.sum(),
            undecodable=(pl.col("reason").is_not_null() & ~cancelled).sum(),
        )
        .sort("airport")
    )


def _problems(ended: pl.DataFrame, nameless: int, both: int, accounted: int) -> list[str]:
    nowhere = ended.filter(pl.col("key").is_null() & pl.col("reason").is_null()).height
    elsewhere = ended.filter(pl.col("key").is_not_null() & (pl.col("key") != pl.col("origin"))).height
    flown = ended.filter(pl.col("gone") & pl.col("key").is_not_null()).height
    grounded = ended.filter(~pl.col("gone") & (pl.col("reason") == "cancelled")).height
    # Only their data makes messages dead letters here; what came too late for its hour, for one, is a fault.
    odd = ended.filter(~pl.col("reason").str.contains("^cancelled$|^undecodable|^DecodeError$")).height
    found = {
        "message(s) came out nowhere": nowhere,
        "flight(s) are counted at another airport": elsewhere,
        "cancelled flight(s) are counted as departures": flown,
        "flight(s) that left are dead letters as cancelled": grounded,
        "flight(s) are dead letters through no fault of their own": odd,
        "dead letter(s) name no flight": nameless,
        "flight(s) are in an hour and among the dead letters": both,
        "message(s) came out that never went in": accounted - (ended.height - nowhere),
    }
    return [f"{count:,} {what}" for what, count in found.items() if count]


def _rows(folder: Path) -> pl.DataFrame:
    files = sorted(folder.glob("*/*.parquet"))
    if not files:
        return pl.DataFrame(schema=_HOURS)
    return pl.concat([pl.read_parquet(file, columns=list(_HOURS)) for file in files], how="vertical_relaxed")


def _hours(rows: pl.DataFrame, ended: pl.DataFrame) -> pl.DataFrame:
    """One row for each airport and hour: what left and what was cancelled.

    A row that was written twice, whole or in part, counts once. One that a shutdown cut in two is put together again, its
    quantiles as the mean of both.
    """
    weight = pl.col("departures")
    figures = [((pl.col(name) * weight).sum() / weight.sum()).alias(name) for name in ("delay", "delay_p50", "delay_p90")]
    weather = [pl.col(name).fill_nan(None).mean() for name in ("visibility", "wind")]
    departed = (
        _once(rows)
        .group_by("key", "start")
        .agg(*figures, *weather, departures=pl.col("flights").explode().n_unique().cast(pl.Int64))
        .with_columns(hour=pl.from_epoch(pl.col("start").cast(pl.Int64)).dt.cast_time_unit("us").dt.replace_time_zone("UTC"))
        .rename({"key": "airport"})
        .drop("start")
    )
    cancelled = (
        ended.filter(pl.col("reason") == "cancelled")
        .group_by(airport="origin", hour=pl.col("scheduled").dt.truncate("1h"))
        .agg(cancelled=pl.len().cast(pl.Int64))
    )
    return (
        departed.join(cancelled, on=["airport", "hour"], how="full", coalesce=True)
        .with_columns(pl.col("departures", "cancelled").fill_null(0))
        .sort("hour", "airport")
    )


def _once(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows without those whose every flight is also in a larger one of the same hour, or in an equal one before it."""
    numbered = rows.with_row_index("row")
    flights = numbered.select("row", "key", "start", size=pl.col("flights").list.len(), id="flights").explode("id")
    needed = flights.sort(["size", "row"], descending=[True, False]).unique(
        ["key", "start", "id"], keep="first", maintain_order=True
    )
    return numbered.join(needed.select("row"), on="row", how="semi").drop("row")
