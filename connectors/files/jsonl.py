"""JSON Lines: one JSON value in each line."""

from __future__ import annotations

import base64
import os
from collections.abc import Generator, Iterator, Sequence
from itertools import compress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from warren.connectors.files.append import Appender, read_at
from warren.connectors.files.connection import Files, Slice
from warren.connectors.files.paths import BLOCK, blocks, compression, find
from warren.core.chunk import apply_each
from warren.core.codecs import JSON, encode
from warren.core.errors import EncodeError, StorageError, shorten
from warren.core.message import Metadata, Outgoing

__all__ = ["Jsonl", "Letters"]

T = TypeVar("T")

_LONGEST = 256 << 20
_EMPTY = (b"", b"\r")
_SUFFIXES = (".jsonl", ".ndjson")
_check = msgspec.json.Decoder(msgspec.Raw).decode


class Jsonl(Files[T]):
    """Made by `jsonl`."""

    content_type = JSON

    def read(self) -> Generator[Slice]:
        """The lines, as bytes; empty ones are passed by."""
        for path, name in find(self.path, _SUFFIXES):
            first, rest = 1, b""
            for block in blocks(path):
                lines = (rest + block).split(b"\n")
                rest = lines.pop()
                if len(rest) > _LONGEST:
                    raise StorageError(
                        f"{path} cannot be read: line {first + len(lines)} is longer than {_LONGEST} bytes; "
                        "check that it is JSON Lines"
                    )
                if lines:
                    yield from _slice(lines, name, first)
                    first += len(lines)
            if rest:
                yield from _slice([rest], name, first)

    def writer(self) -> _LineWriter:
        """Open for appending."""
        return _LineWriter(Path(self.path))


class Letters(Jsonl[Any]):
    """Made by `Files.dead_letters`: JSON Lines with the id, key, timestamp, headers and content type of each dead letter.

    The body stands as text under ``body``, or in base64 under ``body_base64`` where it is not UTF-8.
    """

    keeps_metadata = True

    def __init__(self, path: str) -> None:
        super().__init__(path, None)

    def writer(self) -> _LineWriter:
        """Open for appending."""
        return _LineWriter(Path(self.path), letters=True)


def _slice(lines: list[bytes], file: str, first: int) -> Iterator[Slice]:
    numbers: Sequence[int] = range(first, first + len(lines))
    if b"" in lines or b"\r" in lines:
        kept = [line not in _EMPTY for line in lines]
        numbers, lines = list(compress(numbers, kept)), list(compress(lines, kept))
    if lines:
        yield Slice(lines, file, numbers)


class _LineWriter:
    def __init__(self, path: Path, *, letters: bool = False) -> None:
        self._letters = letters
        self._open_line = False
        self._appender = Appender(path, self._complete)
        # Somebody else's compressed file may end without a line break, and to look would mean to decompress it.
        self._open_line |= compression(path) is not None and self._appender.size > 0

    def _complete(self, file: int) -> int:
        size = at = os.fstat(file).st_size
        tail = b""
        while at and b"\n" not in tail:
            step = min(BLOCK, at)
            at -= step
            tail = read_at(file, step, at) + tail
        start = at + tail.rfind(b"\n") + 1
        last = tail[tail.rfind(b"\n") + 1 :]
        # Part of a number can look whole; of an object, a list or a text it cannot.
        if last[:1] in (b"{", b"[", b'"') and _is_json(last):
            self._open_line = True
            return size
        return start

    def write(self, messages: Outgoing) -> dict[int, Exception]:
        if self._letters:
            values: Sequence[Any] = [_letter(value, messages.metadata(i)) for i, value in enumerate(messages.values)]
        else:
            values = messages.values
        lines, errors = apply_each(_line, values)
        if lines:
            lines.append(b"")
            data = b"\n".join(lines)
            self._appender.append(b"\n" + data if self._open_line else data)
            self._open_line = False
        return errors

    def close(self) -> None:
        self._appender.close()


def _line(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        return encode(value, JSON)[0]
    body = bytes(value)
    try:
        _check(body)
        # Bytes are written as they are, but a line break inside would make two lines of one value.
        return msgspec.json.format(body, indent=-1) if b"\n" in body else body
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EncodeError(
            f"{shorten(body)} is not JSON ({error}), so it cannot be a line of JSON Lines; map it to a value first"
        ) from error


def _letter(value: Any, metadata: Metadata) -> dict[str, Any]:
    body = encode(value)[0]
    letter = {**msgspec.structs.asdict(metadata)}
    try:
        letter["body"] = body.decode()
    except UnicodeDecodeError:
        letter["body_base64"] = base64.b64encode(body).decode()
    return letter


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True
