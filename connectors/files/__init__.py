"""Files as sources and sinks: JSON Lines, CSV and Parquet, compressed where the suffix is ``.gz`` or ``.zst``.

As a source a path may be a file, a folder or a pattern; the files are read once, in the order of their names, in bounded
memory. Nothing is remembered between runs: each run reads from the start. A damaged line or row is a failed message.
As a sink a write is durable when it returns, and there whole or not at all.

Raises `StorageError` where a file or folder cannot be read or written.
"""

from __future__ import annotations

import os
from typing import Any, TypeVar, overload

from warren.connectors.files.connection import Files
from warren.connectors.files.csv import Csv
from warren.connectors.files.jsonl import Jsonl
from warren.connectors.files.parquet import Parquet

__all__ = ["Files", "csv", "jsonl", "parquet"]

T = TypeVar("T")

Path = str | os.PathLike[str]


@overload
def jsonl(path: Path, type: None = None) -> Files[Any]: ...
@overload
def jsonl(path: Path, type: type[T]) -> Files[T]: ...
@overload
def jsonl(path: Path, type: Any) -> Files[Any]: ...
def jsonl(path: Path, type: Any = None) -> Files[Any]:
    """JSON Lines, ``.jsonl`` or ``.ndjson``; a source and a sink in one.

    Lines are decoded to ``type``, or stay bytes without one; their ids are such as ``orders.jsonl:12``. As a sink each
    value is appended as one line. What a crash left half-written at the end is cut off on opening, and kept in
    ``NAME.cut``; one process at a time may append.

    Delivery: at least once. A source starts again from the first line in each run; a sink has synced what it confirms.

    >>> import asyncio, tempfile
    >>> from warren.core.message import Outgoing
    >>> orders = jsonl(os.path.join(tempfile.mkdtemp(), "orders.jsonl.gz"), dict)
    >>> async def both():
    ...     connection = await orders.open()
    ...     await connection.write(Outgoing([{"id": 1}, {"id": 2}]))
    ...     batch = await connection.receive(10)
    ...     await connection.close()
    ...     return list(batch.bodies), list(batch.ids)
    >>> asyncio.run(both())
    ([b'{"id":1}', b'{"id":2}'], ['orders.jsonl.gz:1', 'orders.jsonl.gz:2'])
    """
    return Jsonl(os.fspath(path), type)


@overload
def csv(path: Path, type: None = None) -> Files[Any]: ...
@overload
def csv(path: Path, type: type[T]) -> Files[T]: ...
@overload
def csv(path: Path, type: Any) -> Files[Any]: ...
def csv(path: Path, type: Any = None) -> Files[Any]:
    """CSV in UTF-8 with a header line; a source and a sink in one.

    Rows are dicts of texts, converted to ``type`` where one is given; an empty cell is `None` in a field that cannot be
    text. Ids count rows after the header, from 1. As a sink it takes dicts, structs, dataclasses and lists of them; the
    first write sets the columns, and a value with another column is refused. Otherwise as `jsonl`.

    Delivery: at least once. A source starts again from the first row in each run; a sink has synced what it confirms.

    >>> csv("orders.csv").name
    'csv:orders.csv'
    """
    return Csv(os.fspath(path), type)


# PyArrow ships no types: naming its schema here would fail strict checks wherever this is called.
@overload
def parquet(path: Path, type: None = None, *, schema: Any = None) -> Files[Any]: ...
@overload
def parquet(path: Path, type: type[T], *, schema: Any = None) -> Files[T]: ...
@overload
def parquet(path: Path, type: Any, *, schema: Any = None) -> Files[Any]: ...
def parquet(path: Path, type: Any = None, *, schema: Any = None) -> Files[Any]:
    """Parquet files; as a sink, a folder that gets one file for each write.

    Rows are dicts, converted to ``type`` where one is given; with ``polars.DataFrame`` or ``pyarrow.Table`` a message is a
    batch of rows. As a sink it takes dicts, structs, dataclasses, data frames and lists of them; batch before it, as each
    write makes a file. Its columns come from the rows of the write, or from ``schema``, a ``pyarrow.Schema``; a value that
    does not fit the others is refused. A file appears whole or not at all; what a killed process left unfinished is
    removed on opening.

    Delivery: at least once. A source starts again from the first row in each run; a sink has synced what it confirms.

    >>> parquet("flights").name
    'parquet:flights'
    """
    return Parquet(os.fspath(path), type, schema)
