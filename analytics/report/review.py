"""The last report: what it forecast, and what happened."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from warren.analytics.report.contents import VERSION, Queue, Report, Review
from warren.core.errors import DataError, StorageError

__all__ = ["read_report", "review"]


class _Versioned(msgspec.Struct):
    version: int


def read_report(path: str | os.PathLike[str]) -> Report:
    """Read a report from its JSON. Raises `StorageError` where that fails, `DataError` where it holds something else."""
    file = Path(path)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise StorageError(f"the report in {file} cannot be read: {error.strerror or error}") from error
    try:
        version = msgspec.json.decode(data, type=_Versioned).version
        if version != VERSION:
            raise DataError(
                f"the report in {file} is of version {version}, and {VERSION} is read here; compare with a newer one"
            )
        return msgspec.json.decode(data, type=Report)
    except msgspec.MsgspecError as error:
        raise DataError(f"{file} is no capacity report in JSON ({error}); name one made with --out FILE.json") from error


def review(last: Report, pipeline: str, rates: pl.DataFrame) -> Review | None:
    """The last forecast beside what came; None where it has no hour in common with the recording."""
    before = next((queue for queue in last.queues if queue.pipeline == pipeline), None)
    if before is None or not before.hours.ahead:
        return None
    both = _forecast(before).join(rates.drop_nulls(), on="at").sort("at")
    if both.is_empty():
        return None
    actual, p50, p95 = (both[name].to_numpy() for name in ("rate", "p50", "p95"))
    total = float(actual.sum())
    return Review(
        made=last.made,
        hours=both.height,
        forecast=float(p50.mean()),
        happened=float(actual.mean()),
        error=float(np.abs(actual - p50).sum()) / total if total else None,
        above_p50=float((actual > p50).mean()),
        above_p95=float((actual > p95).mean()),
        ran_out=before.headroom.at if before.headroom else None,
        at=both["at"].to_list(),
        actual=actual.tolist(),
        p50=p50.tolist(),
        p95=p95.tolist(),
    )


def _forecast(before: Queue) -> pl.DataFrame:
    hours = before.hours
    at = pl.Series("at", hours.ahead).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame({"at": at, "p50": hours.p50, "p95": hours.p95})
