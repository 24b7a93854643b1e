"""Quantiles of lengths of time by group, in memory that does not grow with the rows."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

__all__ = ["QUANTILES", "collected", "with_quantiles"]

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_DIGITS = 4
"""Lengths are counted by this many digits, so a quantile is off by 0.05 % at most."""


def with_quantiles(
    rows: pl.LazyFrame, keys: Sequence[str], lengths: dict[str, pl.Expr], counts: Sequence[pl.Expr]
) -> pl.LazyFrame:
    """One row for each group: what ``counts`` say of it, and quantiles of each of ``lengths``, in milliseconds.

    A length is counted by its first four digits, in microseconds: 100 million rows become a few thousand counts.

    >>> took = pl.Series([1_000, 3_000, 5_000]).cast(pl.Duration("us"))
    >>> rows = pl.LazyFrame({"stage": ["a", "a", "b"], "took": took})
    >>> with_quantiles(rows, ["stage"], {"took": pl.col("took")}, [pl.len()]).sort("stage").collect().rows()
    [('a', 2, 1.0, 3.0, 3.0), ('b', 1, 5.0, 5.0, 5.0)]
    """
    found = rows.group_by(keys).agg(*counts)
    for name, length in lengths.items():
        found = found.join(_quantiles(rows, keys, name, length), on=list(keys), how="left", nulls_equal=True)
    return found


def collected(frame: pl.LazyFrame) -> pl.DataFrame:
    """What a frame with quantiles gives. Its parts read the rows one by one: shared, they would all be kept in memory."""
    return frame.collect(engine="streaming", optimizations=pl.QueryOptFlags(comm_subplan_elim=False))


def _quantiles(rows: pl.LazyFrame, keys: Sequence[str], name: str, length: pl.Expr) -> pl.LazyFrame:
    value, count = pl.col("_value"), pl.col("_count")
    rounded = length.dt.total_microseconds().round_sig_figs(_DIGITS).alias("_value")
    counted = rows.select(*keys, rounded).drop_nulls("_value").group_by(*keys, "_value").agg(pl.len().alias("_count"))
    return (
        counted.sort("_value")
        .group_by(keys, maintain_order=True)
        .agg(
            value.filter(count.cum_sum() > (q * (count.sum() - 1)).round()).first().truediv(1e3).alias(f"{name}_{label}_ms")
            for label, q in QUANTILES.items()
        )
    )
