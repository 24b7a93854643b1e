"""Appending to a file so that each write is there whole or not at all."""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

from warren.connectors.files.paths import BLOCK, compress, compression, storage_error
from warren.core.atomic import sync_folder
from warren.core.errors import StorageError

if sys.platform != "win32":
    import fcntl

__all__ = ["Appender", "read_at"]

_ZSTD = 0xFD2FB528
_SKIPPABLE = 0x184D2A50
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)


class Appender:
    """A file open for appending. `append` returns once its bytes are synced; if it raises, none of them stays.

    What a crash left half-written at the end is cut off on opening, and kept beside the file in ``NAME.cut``. ``complete``
    says how many bytes of an uncompressed file are whole; a compressed one consists of one member or frame per write.
    One process at a time may have it open.

    Raises `StorageError`.
    """

    def __init__(self, path: Path, complete: Callable[[int], int]) -> None:
        self.path = path
        self._codec = compression(path)
        new = not path.exists()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, _FLAGS, 0o666)
        except OSError as error:
            raise storage_error(path, error, "written") from error
        try:
            self._lock()
            if new:
                sync_folder(path.parent)
            size = os.fstat(self._file).st_size
            if self._codec is None:
                whole = complete(self._file)
            else:
                whole = _members(self._file) if self._codec == "gzip" else _frames(self._file, size)
            if whole < 0:
                raise StorageError(
                    f"{path} cannot be appended to: after some whole parts it is not {self._codec} any more; restore the "
                    "file from its origin, or write to another"
                )
            if whole < size:
                self._cut(whole, size)
            self.size = whole
        except OSError as error:
            self.close()
            raise storage_error(path, error, "written") from error
        except BaseException:
            self.close()
            raise

    def _lock(self) -> None:
        if sys.platform != "win32":
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StorageError(
                    f"{self.path} cannot be written: something else is appending to it; give each writer its own file"
                ) from error

    def _cut(self, whole: int, size: int) -> None:
        with self.path.with_name(f"{self.path.name}.cut").open("ab") as kept:
            for at in range(whole, size, BLOCK):
                kept.write(read_at(self._file, min(BLOCK, size - at), at))
            kept.flush()
            os.fsync(kept.fileno())
        os.ftruncate(self._file, whole)
        os.fsync(self._file)

    def append(self, data: bytes) -> None:
        """Write, and sync; take back what was written if either fails."""
        if self._codec is not None:
            data = compress(data, self._codec)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self.size)
            raise storage_error(self.path, error, "written") from error
        self.size += len(data)

    def close(self) -> None:
        """Close. Closing twice does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def read_at(file: int, size: int, at: int) -> bytes:
    """Up to ``size`` bytes of an open file, from byte ``at``."""
    os.lseek(file, at, os.SEEK_SET)
    return os.read(file, size)


def _members(file: int) -> int:
    """Where the last complete gzip member ends; negative where something else follows than a cut-off member."""
    whole = at = 0
    inflate = zlib.decompressobj(31)
    while block := read_at(file, BLOCK, at):
        at += len(block)
        while block:
            try:
                inflate.decompress(block)
            except zlib.error:
                return -1
            if not inflate.eof:
                break
            block = inflate.unused_data
            whole = at - len(block)
            inflate = zlib.decompressobj(31)
    return whole


def _frames(file: int, size: int) -> int:
    """Where the last complete Zstandard frame ends; negative where something else follows than a cut-off frame."""
    # A frame says how long its blocks are, so nothing has to be decompressed.
    whole = 0
    while True:
        head = read_at(file, 18, whole)
        magic = int.from_bytes(head[:4], "little")
        if len(head) >= 8 and magic & 0xFFFFFFF0 == _SKIPPABLE:
            end = whole + 8 + int.from_bytes(head[4:8], "little")
        elif len(head) >= 6 and magic == _ZSTD:
            flags = head[4]
            single = flags >> 5 & 1
            content_size = (single, 2, 4, 8)[flags >> 6]
            end = whole + 5 + (1 - single) + (0, 1, 2, 4)[flags & 3] + content_size
            last = False
            while not last:
                header = read_at(file, 3, end)
                if len(header) < 3:
                    return whole
                block = int.from_bytes(header, "little")
                last = bool(block & 1)
                end += 3 + (1 if block >> 1 & 3 == 1 else block >> 3)
            end += 4 if flags >> 2 & 1 else 0
        elif len(head) < 4 or magic == _ZSTD or magic & 0xFFFFFFF0 == _SKIPPABLE:
            return whole
        else:
            return -1
        if end > size:
            return whole
        whole = end
