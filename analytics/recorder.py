"""Records every flow of a pipeline to Parquet, at a cost the pipeline hardly notices."""

from __future__ import annotations

import logging
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from warren.analytics import columns
from warren.analytics.columns import Arrival, Decided, Handling, Segment, Working
from warren.analytics.layout import folder_of
from warren.analytics.rolling import Rolling
from warren.analytics.schema import TABLES
from warren.core.atomic import PREFIX
from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError, StorageError
from warren.core.hooks import Work
from warren.core.policies import Decision
from warren.core.receipt import Delivery, Outcome

__all__ = ["Recorder"]

_log = logging.getLogger("warren.analytics")

# Arrays for so many rows stay in the processor's cache, and are small enough that their memory is used again.
_BATCH = 32_768
_PATIENCE = 1.0


class Recorder:
    """Writes one row for each message's trip, and one for each chunk in each stage, to Parquet files in a folder.

    There are also rows for what the workers of stages do, and for what models decide.

    It is an observer of a pipeline: ``pipeline.observed(Recorder("flows"))``. The folder is made where it is missing; any
    number of recorders, in any number of processes, share one. `Flows` reads it, also while recorders write;
    ``docs/flows.md`` describes the files.

    - ``roll_rows``, ``roll_seconds``: a file is written when it has so many rows, or its first row waited so long
    - ``backlog``: how many rows may wait to be made into columns; the pipeline lends a hand beyond that

    Delivery: the pipeline's guarantees do not depend on the recorder. What it was told is in whole files when `close` or
    `flush` returns. A killed process loses the rows since the last file. Where a file cannot be written the pipeline goes
    on: the loss is logged once, counted in ``lost`` and told by ``problem``.

    Raises `StorageError` in `open` where the folder cannot be made or written, `GraphError` where it already records a
    running pipeline, or where a limit is not positive.

    >>> import tempfile
    >>> from warren import Pipeline
    >>> from warren.analytics import Flows
    >>> from warren.connectors import memory
    >>> folder, out = tempfile.mkdtemp(), []
    >>> Pipeline("greet", memory.items(["a", "b"]) | memory.into(out), observers=[Recorder(folder)]).run()
    >>> Flows(folder).trips.collect()["outcome"].to_list()
    ['delivered', 'delivered']
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        roll_rows: int = 2_000_000,
        roll_seconds: Duration = "1m",
        backlog: int = 524_288,
    ) -> None:
        if roll_rows < 1 or backlog < 1:
            raise GraphError(f"Recorder(roll_rows={roll_rows}, backlog={backlog}): both must be at least 1")
        self.folder = Path(folder)
        self.lost = 0
        self._cause: object = None
        self._roll_rows = roll_rows
        self._roll_seconds = seconds(roll_seconds)
        self._limit = backlog
        self._batch = min(_BATCH, backlog)
        self._pipeline: str | None = None
        self._refused = 0
        # Only the pipeline's thread adds to these and to `_noted`; whoever holds `_converting` takes away.
        self._segments: list[Segment] = []
        self._handlings: list[Handling] = []
        self._workings: list[Working] = []
        self._decided: list[Decided] = []
        self._partly: dict[Delivery, Arrival] = {}
        self._noted = self._converted = 0
        self._batches = _none()
        self._waiting = 0
        self._impatient = False
        self._converting = threading.Lock()
        self._writing = threading.Lock()
        self._written = threading.Condition()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._tables: list[Rolling] | None = None

    def __repr__(self) -> str:
        """Where it writes."""
        return f"Recorder({os.fspath(self.folder)!r})"

    @property
    def problem(self) -> str | None:
        """What went wrong, and how many rows it cost, as a sentence; ``None`` while all is well."""
        if self._cause is None:
            return None
        rows = f"{self.lost} row(s) of the flows in {self.folder} were not recorded"
        return f"{rows}: {self._cause}; the pipeline is not affected"

    @property
    def behind(self) -> int:
        """How many rows wait to be put into a file."""
        return self._noted - self._converted + self._waiting

    def open(self, pipeline: str) -> None:
        """A pipeline starts."""
        if self._pipeline is not None:
            self._refused += 1
            raise GraphError(
                f"{self!r} is recording the running pipeline {self._pipeline!r}, so it cannot record {pipeline!r} as well; "
                f"give each a recorder of its own, they may share the folder"
            )
        folders = [self.folder / table for table in TABLES]
        try:
            for folder in folders:
                mine = folder / folder_of(pipeline)
                mine.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=mine, prefix=PREFIX):
                    pass
                _tidy(folder, 2 * self._roll_seconds + 3600)
        except OSError as error:
            raise StorageError(
                f"the flows of pipeline {pipeline!r} cannot be recorded in {self.folder}: {error.strerror or error}; name a "
                f"folder that can be written"
            ) from error
        # The number of a process is not unique: in a container it is often 1.
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{os.getpid()}-{secrets.token_hex(4)}"
        self._tables = [
            Rolling(folder, pipeline, name, schema, self._roll_rows, self._roll_seconds)
            for folder, schema in zip(folders, TABLES.values(), strict=True)
        ]
        self._pipeline = pipeline
        self.lost, self._cause, self._impatient = 0, None, False
        self._wake.clear()
        self._thread = threading.Thread(target=self._work, name=f"warren-recorder-{pipeline}", daemon=True)
        self._thread.start()

    def settled(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome, at: float) -> None:
        """Messages of one delivery reached their end ``at`` seconds since 1970."""
        arrival = self._partly.pop(delivery, None) or Arrival(delivery)
        if not delivery.done:
            self._partly[delivery] = arrival
        self._segments.append((arrival, tokens, outcome, at))
        self._noted += len(tokens)
        if self._noted - self._converted >= self._batch:
            self._press()

    def handled(
        self, stage: str, taken: int, given: int, failed: int, start: float, end: float, credit: int, depth: int | None
    ) -> None:
        """A step took a chunk."""
        self._handlings.append((stage, taken, given, failed, start, end, credit, depth))
        self._noted += 1
        if self._noted - self._converted >= self._batch:
            self._press()

    def worked(self, stage: str, work: Work, start: float, end: float) -> None:
        """The workers of a stage did this between two times."""
        self._workings.append((stage, work, start, end))
        self._noted += 1

    def decided(self, stage: str, decisions: Sequence[Decision]) -> None:
        """Decisions of a stage's models are over."""
        self._decided += [(stage, decision) for decision in decisions]
        self._noted += len(decisions)

    def flush(self) -> None:
        """See everything noted so far written to whole files before this returns."""
        self._convert()
        self._write(lambda table: True)

    def close(self) -> None:
        """The pipeline has ended: write everything. Closing again does nothing."""
        if self._refused:
            self._refused -= 1
            return
        if self._pipeline is None:
            return
        thread, self._thread = self._thread, None
        self._wake.set()
        if thread is not None:
            thread.join()
        self.flush()
        self._partly.clear()
        self._pipeline = None
        self._tables = None
        if (problem := self.problem) is not None:
            _log.warning("%s", problem)

    def _press(self) -> None:
        """Many rows wait: wake the thread; beyond the limit, make the columns here, so that memory stays bounded."""
        if self._noted - self._converted < self._limit:
            if not self._wake.is_set():
                self._wake.set()
            return
        self._convert()
        self._wake.set()
        if self._waiting > 4 * self._limit:
            self._wait()

    def _wait(self) -> None:
        """The disk does not keep up: give it a moment, but do not let it stop the pipeline."""

        def caught_up() -> bool:
            return self._waiting <= 4 * self._limit

        with self._written:
            if self._impatient or not self._written.wait_for(caught_up, _PATIENCE):
                self._impatient = True
        if not caught_up():
            with self._converting:
                rows = _rows(self._batches)
                self._batches = _none()
                self._waiting -= rows
            self._lose(rows, f"{self.folder} takes files more slowly than rows come in")

    def _work(self) -> None:
        pause = min(1.0, self._roll_seconds)
        while self._thread is not None:
            self._wake.wait(pause)
            self._wake.clear()
            self._convert()
            self._write(lambda table: table.due)

    def _convert(self) -> None:
        """Make columns of everything noted so far."""
        with self._converting:
            segments, handlings, workings = _take(self._segments), _take(self._handlings), _take(self._workings)
            decided = _take(self._decided)
            rows = sum(len(tokens) for _, tokens, _, _ in segments)
            self._converted += rows + len(handlings) + len(workings) + len(decided)
            trips, stages, workers, decisions = self._batches
            self._make(columns.trips, segments, rows, trips)
            self._make(columns.stages, handlings, len(handlings), stages)
            self._make(columns.workers, workings, len(workings), workers)
            self._make(columns.decisions, decided, len(decided), decisions)

    def _make(
        self, make: Callable[[Any], pa.RecordBatch], noted: Sequence[Any], rows: int, batches: list[pa.RecordBatch]
    ) -> None:
        if not noted or self._pipeline is None:
            return
        try:
            batches.append(make(noted))
        except Exception as error:
            self._lose(rows, f"{type(error).__name__}: {error}")
        else:
            self._waiting += rows

    def _write(self, due: Callable[[Rolling], bool]) -> None:
        """Hand the columns to the files, and write those that are due."""
        with self._writing:
            if self._tables is None:
                return
            with self._converting:
                ready, self._batches = self._batches, _none()
            for table, batches in zip(self._tables, ready, strict=True):
                for batch in batches:
                    self._attempt(table, partial(table.add, batch), len(batch))
                if due(table):
                    self._attempt(table, table.roll, 0)
            with self._written, self._converting:
                self._waiting -= _rows(ready)
                self._impatient = False
                self._written.notify_all()

    def _attempt(self, table: Rolling, action: Callable[[], None], adding: int) -> None:
        before = table.rows
        try:
            action()
        except Exception as error:
            table.discard()
            self._lose(before + adding, error.strerror or error if isinstance(error, OSError) else repr(error))

    def _lose(self, rows: int, cause: object) -> None:
        first = self._cause is None
        self.lost += rows
        self._cause = cause
        if first:
            _log.warning("%s", self.problem)


def _none() -> list[list[pa.RecordBatch]]:
    """No columns, of each table."""
    return [[] for _ in TABLES]


def _rows(batches: list[list[pa.RecordBatch]]) -> int:
    return sum(len(batch) for table in batches for batch in table)


def _take(noted: list[Any]) -> list[Any]:
    """Take what is in a list to which another thread appends: each of these steps happens in one go."""
    taken = noted[: len(noted)]
    del noted[: len(taken)]
    return taken


def _tidy(folder: Path, age: float) -> None:
    """Remove unfinished files that nobody can be writing any more; a process of another machine may share the folder."""
    for file in folder.rglob(f"{PREFIX}*"):
        try:
            if time.time() - file.stat().st_mtime > age:
                file.unlink()
        except FileNotFoundError:
            pass
