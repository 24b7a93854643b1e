"""Keeping recordings in order: small files of past days become few large ones, and old days go."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from warren.analytics.layout import REPLACES, Partition, Recording, Recordings
from warren.analytics.rolling import GROUP, options
from warren.analytics.schema import TABLES
from warren.core.atomic import writing
from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError, StorageError

__all__ = ["Compacted", "compact", "expire"]

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows has no such locks: there only one process may look after a folder
    fcntl = None

_ROWS = 10_000_000


class Compacted(NamedTuple):
    """What `compact` made of how many files, and the bytes of both."""

    before: int
    after: int
    bytes_before: int
    bytes_after: int


def compact(folder: str | os.PathLike[str], *, rows: int = _ROWS, today: date | None = None) -> Compacted:
    """Put the small files of each past day together, into files of about ``rows`` rows.

    A new file names those whose rows it has, and appears in one step; from then on `Flows` reads it in their place, and
    they are removed. So killed at any moment nothing is lost or read twice; but what reads the files without `Flows` may see
    rows twice until the next call removes what is left. Days that are not over by ``today`` (UTC), and files of version 1,
    stay as they are. Recorders may write meanwhile; a frame that was made before and is read afterwards may miss its files.

    Raises `StorageError` where a file cannot be read or written, or another process is at it.

    >>> import tempfile
    >>> compact(tempfile.mkdtemp())
    Compacted(before=0, after=0, bytes_before=0, bytes_after=0)
    """
    today = today or datetime.now(UTC).date()
    before = after = bytes_before = bytes_after = 0
    with _alone(Path(folder)):
        for table, schema in TABLES.items():
            found = Recordings(Path(folder), table).files()
            _remove_replaced(found)
            past = [file for file in found if file.partition is not None and file.partition.day < today]
            for _, files in groupby(past, key=lambda file: file.path.parent):
                for group in _groups(files, rows):
                    before += len(group)
                    bytes_before += sum(file.path.stat().st_size for file in group)
                    made = _join(group, schema)
                    after += 1
                    bytes_after += made.stat().st_size
    return Compacted(before, after, bytes_before, bytes_after)


def expire(folder: str | os.PathLike[str], keep: Duration, *, today: date | None = None) -> int:
    """Remove the days that ended longer than ``keep`` ago, and return how many rows that were; ``keep`` is at least a day.

    A day goes as a whole; files of version 1 go with their newest row.

    Raises `StorageError` where a file cannot be removed, and `GraphError` where ``keep`` is shorter.

    >>> import tempfile
    >>> expire(tempfile.mkdtemp(), "90d")
    0
    """
    if seconds(keep) < 86_400:
        raise GraphError(f"expire(keep={keep!r}): days go as a whole, so keep at least '1d'")
    first = (today or datetime.now(UTC).date()) - timedelta(seconds=seconds(keep))
    gone = 0
    with _alone(Path(folder)):
        for table, schema in TABLES.items():
            for file in Recordings(Path(folder), table).files():
                day = file.partition.day if file.partition is not None else _newest(file.path, schema)
                if day < first:
                    gone += pq.read_metadata(file.path).num_rows
                    file.path.unlink(missing_ok=True)
            for path in (Path(folder) / table).glob("pipeline=*/day=*"):
                partition = Partition.of(path)
                if partition is not None and partition.day < first:
                    shutil.rmtree(path)
    return gone


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """See to it that nobody else looks after this folder, and that what goes wrong is told as a sentence."""
    if not folder.is_dir():
        raise StorageError(f"{folder} is no folder; name the one that a Recorder writes to")
    try:
        with (folder / ".upkeep").open("w") as lock:
            if fcntl is not None:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise StorageError(
                        f"another process puts the recordings in {folder} in order; wait until it is done"
                    ) from None
            yield
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"the recordings in {folder} could not be put in order: {error}") from error


def _remove_replaced(files: Iterable[Recording]) -> None:
    for file in files:
        for name in file.replaces:
            file.path.with_name(name).unlink(missing_ok=True)


def _groups(files: Iterable[Recording], rows: int) -> Iterator[list[Recording]]:
    """Files that follow each other, together of about so many rows; what is large enough by itself is left alone."""
    group: list[Recording] = []
    size = 0
    for file in files:
        count = pq.read_metadata(file.path).num_rows
        if group and size + count > rows:
            if len(group) > 1:
                yield group
            group, size = [], 0
        group.append(file)
        size += count
    if len(group) > 1:
        yield group


def _join(files: Sequence[Recording], schema: pa.Schema) -> Path:
    """Write the rows of some files to one that replaces them, and remove them."""
    first = files[0].path
    # A name of its own, which sorts where the first of them did.
    path = first.with_name(f"{first.stem}+{len(files)}.parquet")
    names = "\n".join(file.path.name for file in files)
    described = schema.with_metadata({**schema.metadata, REPLACES: names.encode()})
    with (
        writing(path) as temporary,
        # Read many times and written once, so it may cost a little more to write.
        pq.ParquetWriter(temporary, described, **options(schema, "zstd")) as writer,
    ):
        waiting: list[pa.Table] = []
        for file in files:
            with pq.ParquetFile(file.path) as source:
                for group in range(source.num_row_groups):
                    waiting.append(_fitted(source.read_row_group(group), schema))
                    if sum(map(len, waiting)) >= GROUP:
                        writer.write_table(pa.concat_tables(waiting).unify_dictionaries())
                        waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting).unify_dictionaries())
    for file in files:
        file.path.unlink()
    return path


def _fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows of an older or newer recorder of this version, as this one writes them."""
    missing = [field for field in schema if field.name not in table.column_names]
    for field in missing:
        table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select(schema.names).cast(schema)


def _newest(path: Path, schema: pa.Schema) -> date:
    (column,) = {"settled", "end", "at"}.intersection(schema.names)
    newest = pl.scan_parquet(path).select(pl.col(column).dt.date().max()).collect().item()
    return newest if newest is not None else date.max
