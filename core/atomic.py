"""Files that are there whole or not at all, whatever kills the process or fills the disk."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

__all__ = ["PREFIX", "sweep", "sync_folder", "writing"]

PREFIX = ".writing-"
"""How the names of unfinished files begin; readers pass such files by."""

_unfinished: set[Path] = set()


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path``; when the block ends, make what was written there appear as ``path``.

    The file is synced, renamed over ``path`` and the folder synced, so that after the block it outlives a power cut.
    If the block raises, the temporary file is removed and ``path`` stays as it was; a killed process leaves only a file
    that begins with `PREFIX`, for `sweep` to remove. Raises what the file system raises (`OSError`).

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with writing(folder / "a.txt") as temporary:
    ...     written = temporary.write_text("hello")
    >>> (folder / "a.txt").read_text(), [file.name for file in folder.iterdir()]
    ('hello', ['a.txt'])
    """
    path = Path(path)
    temporary = path.with_name(f"{PREFIX}{os.getpid()}-{uuid.uuid4().hex[:8]}-{path.name}")
    _unfinished.add(temporary.resolve())
    try:
        yield temporary
        # Opened for writing: some systems sync no file that is open for reading only.
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        _unfinished.discard(temporary.resolve())
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder outlive a power cut, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: str | os.PathLike[str]) -> int:
    """Remove the unfinished files that dead processes left in a folder; return how many there were.

    Files that a living process of this machine is writing stay.

    >>> import tempfile
    >>> sweep(tempfile.mkdtemp())
    0
    """
    removed = 0
    for file in Path(folder).glob(f"{PREFIX}*"):
        owner = file.name[len(PREFIX) :].partition("-")[0]
        # In a container every run of a program has the same number, so a file of one's own may be an ancestor's.
        own = owner == str(os.getpid())
        if file.resolve() not in _unfinished if own else not (owner.isdigit() and _alive(int(owner))):
            file.unlink(missing_ok=True)
            removed += 1
    return removed


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
