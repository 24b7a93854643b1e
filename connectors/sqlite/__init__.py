"""Durable queues in one SQLite file: acknowledgement, delay, attempts and dead letters, with no broker to run.

Several processes can work on one file. What is asked at the same time in one process goes to the disk in one transaction.
"""

import os
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, overload

from warren.connectors.sqlite.faults import storage_error
from warren.connectors.sqlite.queue import Queue
from warren.connectors.sqlite.store import Synchronous
from warren.connectors.sqlite.tables import Tables
from warren.core.clock import Duration
from warren.core.errors import StorageError

__all__ = ["Queue", "Synchronous", "depth", "depths", "queue"]

T = TypeVar("T")


@overload
def queue(
    path: str | os.PathLike[str],
    name: str,
    type: None = None,
    *,
    key: Callable[[Any], str | None] | None = None,
    headers: Callable[[Any], Mapping[str, str]] | None = None,
    synchronous: Synchronous = "full",
    lease: Duration = "30s",
    max_deliveries: int | None = 20,
) -> Queue[Any]: ...
@overload
def queue(
    path: str | os.PathLike[str],
    name: str,
    type: type[T],
    *,
    key: Callable[[T], str | None] | None = None,
    headers: Callable[[T], Mapping[str, str]] | None = None,
    synchronous: Synchronous = "full",
    lease: Duration = "30s",
    max_deliveries: int | None = 20,
) -> Queue[T]: ...
@overload
def queue(
    path: str | os.PathLike[str],
    name: str,
    type: Any,
    *,
    key: Callable[[Any], str | None] | None = None,
    headers: Callable[[Any], Mapping[str, str]] | None = None,
    synchronous: Synchronous = "full",
    lease: Duration = "30s",
    max_deliveries: int | None = 20,
) -> Queue[Any]: ...
def queue(
    path: str | os.PathLike[str],
    name: str,
    type: Any = None,
    *,
    key: Callable[[Any], str | None] | None = None,
    headers: Callable[[Any], Mapping[str, str]] | None = None,
    synchronous: Synchronous = "full",
    lease: Duration = "30s",
    max_deliveries: int | None = 20,
) -> Queue[Any]:
    """A durable queue in a SQLite file; a source and a sink in one. See `Queue` for what it guarantees.

    - ``type``: what bodies are decoded to when it is read; without one they stay bytes
    - ``key``, ``headers``: compute from a value what is written beside it, where its metadata does not say
    - ``synchronous``: with ``"full"`` what is written survives a power cut, with ``"normal"`` a killed process
    - ``lease``: how long a worker that hangs keeps its messages; a killed one loses them at once
    - ``max_deliveries``: after so many deliveries that were never settled, the pipeline dead-letters a message

    The file keeps its size when queues empty: the space is used again. A folder on a network disk will not do, as SQLite
    needs shared memory. Bodies are stored in blocks, and a block goes when all its messages are settled.

    >>> queue("/var/lib/shop/orders.db", "orders", dict, key=lambda order: order["id"])
    sqlite:orders
    """
    return Queue(
        path,
        name,
        type,
        key=key,
        headers=headers,
        synchronous=synchronous,
        lease=lease,
        max_deliveries=max_deliveries,
    )


def depths(path: str | os.PathLike[str]) -> Mapping[str, int]:
    """How many messages wait in each queue of a file, delayed ones included.

    Raises `StorageError` where there is no such file or it has no queues.
    """
    path = os.fspath(path)
    if not Path(path).is_file():
        raise StorageError(f"there is no queue file {path}: check the path; a pipeline that uses it makes it")
    try:
        connection = sqlite3.connect(path)
        try:
            return Tables(connection).depths()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise storage_error(error, path) from error


def depth(path: str | os.PathLike[str], name: str) -> int:
    """How many messages wait in one queue of a file; 0 where it has no such queue. See `depths`."""
    return depths(path).get(name, 0)
