"""Keeping the messages of a running pipeline, with their payloads, to be replayed in a test."""

from __future__ import annotations

import base64
import contextlib
import math
import os
from collections.abc import Sequence
from io import BufferedWriter
from pathlib import Path
from typing import Any

import msgspec

from warren.core.codecs import JSON, encode
from warren.core.errors import GraphError, StorageError
from warren.core.receipt import Delivery, Outcome

__all__ = ["Line", "Tape"]


class Line(msgspec.Struct, omit_defaults=True):
    """One line of a tape: when a message was read (seconds since 1970, or any other time), what it was, and from where.

    The payload is ``value``, any JSON, or ``body``, text, or ``base64``, bytes.
    """

    at: float | str
    value: Any = msgspec.UNSET
    body: str | None = None
    base64: str | None = None
    id: str = ""
    key: str | None = None
    headers: dict[str, str] | None = None
    content_type: str = ""
    source: str = ""

    def payload(self) -> Any:
        """The value or the bytes; `ValueError` where it holds none."""
        if self.base64 is not None:
            return base64.b64decode(self.base64, validate=True)
        if self.body is not None:
            return self.body.encode()
        if self.value is msgspec.UNSET:
            raise ValueError("it holds no payload: neither value, body nor base64")
        return self.value


class Tape:
    """An observer that writes the first ``limit`` messages of a pipeline to a file of JSON lines, for `replay`.

    The flow recorder keeps no payloads; this does, so mind what is in them. A message is written when it is settled, so
    memory does not grow, and a killed process leaves all that was settled, but perhaps its last line. Each run begins the
    file anew. A message that comes again is kept once. Values that are not bytes are kept as JSON. ``limit=None`` keeps all.

    Delivery: the pipeline's guarantees do not depend on it. Raises `StorageError` when the pipeline starts and the file
    cannot be written, or when it ends and, say, the disk was full on the way; `GraphError` for a limit below 1.

    >>> import tempfile
    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> from warren.testing import replay
    >>> file = Path(tempfile.mkdtemp(), "words.jsonl")
    >>> words = Pipeline("words", memory.items(["a", "b"]) | memory.into([]))
    >>> words.observed(Tape(file)).run()
    >>> replay(words, file).values
    ['a', 'b']
    """

    def __init__(self, path: str | os.PathLike[str], *, limit: int | None = 10_000) -> None:
        if limit is not None and limit < 1:
            raise GraphError(f"Tape(limit={limit}): it must be at least 1")
        self.path = Path(path)
        self.limit = limit
        self._left = math.inf
        self._file: BufferedWriter | None = None
        self._error: OSError | None = None
        self._encode = msgspec.json.Encoder().encode

    def __repr__(self) -> str:
        """Where it writes."""
        return f"Tape({os.fspath(self.path)!r})"

    def open(self, pipeline: str) -> None:
        """A pipeline starts."""
        self._left, self._error = math.inf if self.limit is None else self.limit, None
        try:
            self._file = self.path.open("wb")
        except OSError as error:
            raise self._unwritten(error) from error

    def settled(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome, at: float) -> None:
        """Messages of one delivery reached their end."""
        if self._file is None or not self._left:
            return
        batch = delivery.batch
        lines: list[bytes] = []
        for token in tokens:
            i = token - delivery.base
            again = any(counts is not None and counts[i] > 1 for counts in (batch.attempts, batch.deliveries))
            if not again and len(lines) < self._left:
                lines.append(self._encode(_line(delivery, i)) + b"\n")
        self._left -= len(lines)
        try:
            # At once, so that a killed process has it.
            self._file.write(b"".join(lines))
            self._file.flush()
        except OSError as error:
            self._error, self._left = error, 0

    def handled(
        self, stage: str, taken: int, given: int, failed: int, start: float, end: float, credit: int, depth: int | None
    ) -> None:
        """A step took a chunk."""

    def close(self) -> None:
        """The pipeline has ended."""
        file, self._file = self._file, None
        try:
            if file is not None and self._error is None:
                os.fsync(file.fileno())
        except OSError as error:
            self._error = error
        finally:
            if file is not None:
                with contextlib.suppress(OSError):
                    file.close()
        if self._error is not None:
            raise self._unwritten(self._error) from self._error

    def _unwritten(self, error: OSError) -> StorageError:
        return StorageError(f"{self!r} cannot be written: {error.strerror or error}; name another file")


def _line(delivery: Delivery, i: int) -> Line:
    metadata, body = delivery.batch.metadata(i), delivery.batch.bodies[i]
    line = Line(
        at=round(delivery.received, 6),
        id=metadata.id,
        key=metadata.key,
        headers=dict(metadata.headers) or None,
        content_type=metadata.content_type,
        source=getattr(getattr(delivery.source, "inlet", None), "name", ""),
    )
    if not isinstance(body, bytes):
        line.value = msgspec.Raw(encode(body, JSON)[0])
    else:
        try:
            line.body = body.decode()
        except UnicodeDecodeError:
            line.base64 = base64.b64encode(body).decode()
    return line
