"""Parquet: read by batches of rows, written as one file for each write."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import pyarrow as pa
from pyarrow import parquet

from warren.connectors.files.connection import Files, Slice
from warren.connectors.files.paths import find, storage_error
from warren.connectors.files.rows import ROW, rows_of
from warren.core import atomic
from warren.core.chunk import apply_each
from warren.core.errors import EncodeError, StorageError, shorten
from warren.core.message import Outgoing

__all__ = ["Parquet"]

T = TypeVar("T")

_ROWS = 8192
_WRONG = (pa.ArrowException, TypeError, ValueError, OverflowError)


class Parquet(Files[T]):
    """Made by `parquet`."""

    content_type = ROW

    def __init__(self, path: str, type: Any = None, schema: pa.Schema | None = None) -> None:
        # A frame is handed out as it is, so there is nothing to decode.
        self.frames = type if type in (pl.DataFrame, pa.Table) else None
        self.schema = schema
        super().__init__(path, None if self.frames is not None else type)

    def read(self) -> Generator[Slice]:
        """The rows, as dicts; or batches of rows as frames."""
        for path, name in find(self.path, (".parquet",)):
            try:
                with parquet.ParquetFile(path) as file:
                    first = 1
                    for batch in file.iter_batches(_ROWS):
                        if self.frames is None:
                            yield Slice(batch.to_pylist(), name, range(first, first + len(batch)))
                        elif len(batch):
                            table = pa.Table.from_batches([batch])
                            frame = table if self.frames is pa.Table else pl.from_arrow(table)
                            yield Slice([frame], name, [first])
                        first += len(batch)
            except (OSError, pa.ArrowException) as error:
                raise storage_error(path, error) from error

    def writer(self) -> _PartWriter:
        """Open the folder for writing."""
        return _PartWriter(Path(self.path), self.schema)


class _PartWriter:
    def __init__(self, folder: Path, schema: pa.Schema | None) -> None:
        self._folder = folder
        self._schema = schema
        self._numbers = itertools.count()
        # The time puts the parts of later runs after earlier ones; the random digits keep processes apart.
        self._prefix = f"part-{time.time_ns() // 1_000_000:013d}-{uuid.uuid4().hex[:8]}"
        if folder.suffix == ".parquet" and not folder.is_dir():
            raise StorageError(
                f"{folder} cannot be written: a Parquet file cannot be appended to; name a folder, "
                "which gets one file for each write"
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            atomic.sweep(folder)
        except OSError as error:
            raise storage_error(folder, error, "written") from error

    def write(self, messages: Outgoing) -> dict[int, Exception]:
        whole = _joined(messages.values, self._schema)
        if whole is not None:
            self._store(whole)
            return {}
        groups, errors = apply_each(rows_of, messages.values)
        positions = [i for i in range(len(messages)) if i not in errors]
        owners = [position for position, rows in zip(positions, groups, strict=True) for _ in rows]
        rows = [row for group in groups for row in group]
        try:
            table = _table(rows, self._schema)
        except _WRONG:
            errors |= _refusals(rows, owners, self._schema)
            table = _table([row for row, owner in zip(rows, owners, strict=True) if owner not in errors], self._schema)
        self._store(table)
        return errors

    def _store(self, table: pa.Table) -> None:
        if not table.num_rows:
            return
        path = self._folder / f"{self._prefix}-{next(self._numbers):06d}.parquet"
        try:
            with atomic.writing(path) as temporary:
                parquet.write_table(table, temporary, compression="zstd")
        except (OSError, pa.ArrowException) as error:
            raise storage_error(path, error, "written") from error

    def close(self) -> None:
        pass


def _joined(values: Sequence[Any], schema: pa.Schema | None) -> pa.Table | None:
    """Data frames as one table, or ``None`` where there is anything else or they do not fit each other."""
    if not all(isinstance(value, pl.DataFrame | pa.Table) for value in values):
        return None
    tables = [value if isinstance(value, pa.Table) else value.to_arrow() for value in values]
    try:
        joined = pa.concat_tables(tables, promote_options="default")
        return joined if schema is None else joined.cast(schema)
    except _WRONG:
        return None


def _names(rows: Sequence[Mapping[str, Any]], schema: pa.Schema | None) -> list[str]:
    return schema.names if schema is not None else list(dict.fromkeys(name for row in rows for name in row))


def _table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema | None) -> pa.Table:
    names = _names(rows, schema)
    if schema is not None and any(not row.keys() <= set(names) for row in rows):
        raise ValueError("a row has a column that the schema has not")
    types = [schema.field(name).type if schema is not None else None for name in names]
    columns = [pa.array([row.get(name) for row in rows], type) for name, type in zip(names, types, strict=True)]
    return pa.Table.from_arrays(columns, schema=schema) if schema is not None else pa.Table.from_arrays(columns, names)


def _refusals(rows: Sequence[Mapping[str, Any]], owners: Sequence[int], schema: pa.Schema | None) -> dict[int, Exception]:
    """The values of which a row does not fit the others before it, or the schema, and why."""
    errors: dict[int, Exception] = {}
    samples: dict[str, list[Any]] = {}
    known = set(schema.names) if schema is not None else None
    for row, owner in zip(rows, owners, strict=True):
        if owner in errors:
            continue
        for name, value in row.items():
            try:
                if schema is not None:
                    if name not in schema.names:
                        raise ValueError(f"the schema has only {', '.join(sorted(known or ()))}")
                    pa.array([value], schema.field(name).type)
                else:
                    seen = samples.setdefault(name, [])
                    before = pa.array(seen).type
                    # One value of each kind seen stands for all.
                    if pa.array([*seen, value]).type != before:
                        seen.append(value)
            except _WRONG as error:
                errors[owner] = EncodeError(
                    f"{shorten(value)} does not fit the column {name!r} of the Parquet file: {error}; "
                    "map every value to the same types"
                )
                break
    return errors
