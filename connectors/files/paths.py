"""Finding files, reading them in blocks whatever their compression, and saying what is wrong with them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa

from warren.core.errors import StorageError

__all__ = ["BLOCK", "beside", "blocks", "compress", "compression", "find", "storage_error"]

BLOCK = 1 << 20
"""How many bytes are read in one go."""

_ASIDE = "dead-letters"
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_REMEDIES = {
    errno.ENOENT: "check the path, or create the folder",
    errno.EACCES: "check the permissions of the file and its folder",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENOSPC: "the disk is full; free some space and start again",
    errno.EDQUOT: "the disk quota is used up; free some space and start again",
    errno.EFBIG: "the file has reached the largest size the system allows; start another file",
    errno.ENOTDIR: "part of the path is a file; choose another folder",
    errno.EISDIR: "the path is a folder; name a file in it",
}


def compression(path: Path) -> str | None:
    """How a file is compressed, by its suffix.

    >>> compression(Path("a.jsonl.gz")), compression(Path("a.csv"))
    ('gzip', None)
    """
    return _COMPRESSIONS.get(path.suffix.lower())


def compress(data: bytes, codec: str) -> bytes:
    """One complete gzip member or Zstandard frame."""
    return cast(bytes, pa.compress(data, codec=codec, asbytes=True))


def storage_error(path: Path, error: Exception, doing: str = "read") -> StorageError:
    """What the file system or a format's reader raised, as a sentence with the remedy."""
    reason, remedy = str(error), "restore the file from its origin, or leave it out"
    if isinstance(error, OSError) and error.errno is not None:
        reason = os.strerror(error.errno)
        remedy = _REMEDIES.get(error.errno, "check the disk and the path")
    found = StorageError(f"{path} cannot be {doing}: {reason.rstrip('.')}; {remedy}")
    found.__cause__ = error
    return found


def beside(path: str) -> Path:
    """The folder for what is told about the files of a path, where the path does not find it again."""
    at = Path(path)
    if not at.is_dir() and not _is_pattern(path):
        return at.parent
    while _is_pattern(str(at)) and not at.is_dir():
        at = at.parent
    return at / _ASIDE


def _is_pattern(path: str) -> bool:
    return any(sign in path for sign in "*?[")


def find(path: str, suffixes: Sequence[str]) -> list[tuple[Path, str]]:
    """The files of a path, a pattern or a folder, in the order of their names, and what to call each.

    Unfinished and hidden files and dead letters are left out.

    Raises `StorageError` where there is none.
    """
    at = Path(path)
    if at.is_file():
        return [(at, at.name)]
    if at.is_dir():
        files = [each for each in at.iterdir() if _plain_name(each).endswith(tuple(suffixes))]
    elif _is_pattern(path):
        files = [each for each in Path(at.anchor).glob(str(at.relative_to(at.anchor))) if _ASIDE not in each.parts]
    else:
        raise StorageError(f"{path} cannot be read: there is no such file or folder; check the path")
    files = sorted(each for each in files if each.is_file() and not each.name.startswith("."))
    if not files:
        raise StorageError(f"{path} cannot be read: no file matches; check the path (files end in {', '.join(suffixes)})")
    # Two files of one name must not give two messages of one id.
    top = os.path.commonpath([each.parent for each in files])
    return [(each, each.relative_to(top).as_posix()) for each in files]


def _plain_name(path: Path) -> str:
    return path.stem.lower() if compression(path) else path.name.lower()


def blocks(path: Path) -> Iterator[bytes]:
    """The bytes of a file, decompressed, a block at a time.

    Raises `StorageError` where the file cannot be read, or is cut off or corrupt where it is compressed.
    """
    codec = compression(path)
    done = 0
    try:
        with path.open("rb") as raw:
            # An empty file is what a writer leaves that never wrote.
            if codec is not None and not raw.peek(1):
                return
            file: IO[bytes] | Any = raw if codec is None else pa.CompressedInputStream(raw, codec)
            while block := file.read(BLOCK):
                done += len(block)
                yield block
    except OSError as error:
        if error.errno is not None:
            raise storage_error(path, error) from error
        raise StorageError(
            f"{path} cannot be read: after {done} decompressed bytes it is not {codec} any more ({error}); restore the file "
            "from its origin, or, where a crash cut it off, append to it once with this connector, which mends its end"
        ) from error
