"""A table that rolls from one Parquet file to the next, and with each day; each file appears whole, or not at all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from warren.analytics.layout import Partition
from warren.core.atomic import sync_folder, writing

__all__ = ["GROUP", "Rolling", "options"]

GROUP = 131_072
"""Rows that are compressed together."""
_ROLL_BYTES = 64 << 20
# Measured, in processor time: a dictionary costs least where values repeat, differences where times rise from row to row,
# and nothing at all before the compression where a value stands in long runs.
_RISING = {"enqueued", "start", "end"}
_PLAIN = {"trace", "received", "settled", "attempts"}
_TIMES = {"settled", "end", "at"}
_DAY = 86_400_000_000


class Rolling:
    """Compresses rows into a Parquet file in memory, and writes it when it is large or old enough.

    What is in memory is compressed, 64 MiB at most, so a file goes to the disk in one short write.
    """

    def __init__(
        self, folder: Path, pipeline: str, name: str, schema: pa.Schema, roll_rows: int, roll_seconds: float
    ) -> None:
        self._folder = folder
        self._pipeline = pipeline
        (self._time,) = _TIMES.intersection(schema.names)
        self._day: date | None = None
        self._name = name
        self._schema = schema
        self._roll_rows = roll_rows
        self._roll_seconds = roll_seconds
        self._group: list[pa.RecordBatch] = []
        self._group_rows = 0
        self._buffer: pa.BufferOutputStream | None = None
        self._writer: pq.ParquetWriter | None = None
        self._since = 0.0
        self._files = 0
        self.rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Take rows; roll to the next file where this one is full, or a day begins. Raises `OSError` as `roll` does."""
        for day, rows in self._by_day(batch):
            if day != self._day:
                self.roll()
                self._day = day
            self._add(rows)

    def _by_day(self, batch: pa.RecordBatch) -> Iterator[tuple[date, pa.RecordBatch]]:
        """Rows that follow each other and ended on one day."""
        times = batch.column(self._time)
        # By Arrow's own conversion pandas would be loaded, which takes longer than all else here.
        days = np.frombuffer(times.buffers()[1], np.int64)[times.offset : times.offset + len(times)] // _DAY
        starts = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(batch)]
        for start, end in pairwise(starts):
            if end > start:
                yield date(1970, 1, 1) + timedelta(int(days[start])), batch.slice(start, end - start)

    def _add(self, batch: pa.RecordBatch) -> None:
        if not self.rows:
            self._since = time.monotonic()
        self._group.append(batch)
        self._group_rows += len(batch)
        self.rows += len(batch)
        if self._group_rows >= GROUP or self.rows >= self._roll_rows:
            self._compress()
        if self.rows >= self._roll_rows or (self._buffer is not None and self._buffer.tell() >= _ROLL_BYTES):
            self.roll()

    def _compress(self) -> None:
        if self._writer is None:
            self._buffer = pa.BufferOutputStream()
            self._writer = pq.ParquetWriter(self._buffer, self._schema, **options(self._schema))
        # Each batch has dictionaries of its own; one for all is written as it is, others would be spelled out.
        table = pa.Table.from_batches(self._group).unify_dictionaries()
        self._group, self._group_rows = [], 0
        self._writer.write_table(table)

    @property
    def due(self) -> bool:
        """Whether the oldest row has waited long enough."""
        return self.rows > 0 and time.monotonic() - self._since >= self._roll_seconds

    def roll(self) -> None:
        """Write what there is to a file of its own. Raises `OSError` where it cannot; those rows are then gone."""
        if not self.rows:
            return
        try:
            if self._group:
                self._compress()
            assert self._writer is not None and self._buffer is not None
            self._writer.close()
            data = self._buffer.getvalue()
            assert self._day is not None
            folder = self._folder / Partition(self._pipeline, self._day).path
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                sync_folder(folder.parent)
                sync_folder(self._folder)
            with writing(folder / f"{self._name}-{self._files:06d}.parquet") as temporary:
                temporary.write_bytes(data)
            self._files += 1
        finally:
            self.discard()

    def discard(self) -> int:
        """Forget what is not written yet, and say how many rows that were."""
        rows, self.rows = self.rows, 0
        self._group, self._group_rows, self._writer, self._buffer = [], 0, None, None
        return rows


def options(schema: pa.Schema, compression: str = "lz4") -> dict[str, Any]:
    """The cheapest way to store each column; time ranges are kept so that readers can skip groups."""
    names = set(schema.names)
    return {
        "compression": compression,
        "use_dictionary": sorted(names - _RISING - _PLAIN),
        "column_encoding": dict.fromkeys(sorted(names & _RISING), "DELTA_BINARY_PACKED"),
        "write_statistics": sorted(names & _TIMES),
    }
