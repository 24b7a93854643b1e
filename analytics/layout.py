"""Where recorded flows lie: in folders by pipeline and day, as Hive has them, so that every reader of Parquet knows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.parquet as pq

from warren.analytics.schema import KIND, KNOWN
from warren.core.errors import StorageError

__all__ = ["REPLACES", "Partition", "Recording", "Recordings", "folder_of"]

REPLACES = b"warren.replaces"
"""The key in a file's metadata that names the files whose rows it has; they count no more, and will be removed."""


def folder_of(pipeline: str) -> str:
    """The name of the folder with a pipeline's rows.

    >>> folder_of("eu/orders")
    'pipeline=eu%2Forders'
    """
    return f"pipeline={quote(pipeline, safe='')}"


class Partition(NamedTuple):
    """The rows of one pipeline that ended on one day, in UTC.

    >>> Partition("eu/orders", date(2026, 11, 28)).path
    'pipeline=eu%2Forders/day=2026-11-28'
    """

    pipeline: str
    day: date

    @property
    def path(self) -> str:
        """The folder below that of the table."""
        return f"{folder_of(self.pipeline)}/day={self.day}"

    @staticmethod
    def of(folder: Path) -> Partition | None:
        """What a folder is by its name; ``None`` for one that is none of ours."""
        pipeline, day = folder.parent.name, folder.name
        if not pipeline.startswith("pipeline=") or not day.startswith("day="):
            return None
        try:
            return Partition(unquote(pipeline.removeprefix("pipeline=")), date.fromisoformat(day.removeprefix("day=")))
        except ValueError:
            return None


class Recording(NamedTuple):
    """One file; ``partition`` is ``None`` for those of version 1, which lie in the table's folder itself."""

    path: Path
    partition: Partition | None
    version: str
    replaces: Sequence[str]


class Recordings:
    """The files of one table; each is looked into once."""

    def __init__(self, folder: Path, table: str) -> None:
        self.folder = folder / table
        self.table = table
        self._known: dict[Path, Recording] = {}

    def files(self) -> list[Recording]:
        """Those that are there now and count, in the order of their folders and names.

        Raises `StorageError` where one is no recording, or was made by a newer version.
        """
        # Files in the making begin with a dot.
        paths = [path for path in sorted(self.folder.rglob("*.parquet")) if not path.name.startswith(".")]
        self._known = {path: self._known.get(path) or self._look(path) for path in paths}
        replaced = {found.path.with_name(name) for found in self._known.values() for name in found.replaces}
        return [found for path, found in self._known.items() if path not in replaced]

    def _look(self, path: Path) -> Recording:
        remedy = f"move it out of {path.parent}, where only recorders write"
        try:
            metadata = pq.read_schema(path).metadata or {}
        except (OSError, pa.ArrowException) as error:
            raise StorageError(f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}); {remedy}") from error
        table, _, version = metadata.get(KIND, b"").decode("utf-8", "replace").partition("/")
        if not table:
            raise StorageError(f"{path} is Parquet, but no recording of flows; {remedy}")
        if table != self.table or version not in KNOWN:
            found = f"'{table}/{version}' where '{self.table}/{KNOWN[-1]}' is expected"
            raise StorageError(f"{path} holds {found}: another table or version; {remedy}")
        partition = None if version == "1" else Partition.of(path.parent)
        if version != "1" and partition is None:
            raise StorageError(f"{path} lies in no folder of a pipeline and a day; move it back where it was recorded")
        replaces = metadata.get(REPLACES, b"").decode()
        return Recording(path, partition, version, replaces.split("\n") if replaces else ())
