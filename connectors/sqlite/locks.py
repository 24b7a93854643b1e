"""Files that a process keeps locked while it lives, so that others notice at once when it is killed."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Any

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows has no such locks: there a lease has to run out
    fcntl = None

__all__ = ["Lock", "is_dead"]


def _file(path: str, name: str) -> Path:
    return Path(f"{path}-owner-{name}")


class Lock:
    """A lock file beside a queue file, held until `release` or the end of the process, however it ends."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = secrets.token_hex(6)
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Create and lock the file; where the system has no such locks, the lease alone must do."""
        if self._descriptor is None and fcntl is not None:
            self._descriptor = os.open(_file(self.path, self.name), os.O_RDWR | os.O_CREAT, 0o666)
            with contextlib.suppress(OSError):
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self) -> None:
        """Remove the file."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                _file(self.path, self.name).unlink()
            os.close(self._descriptor)
            self._descriptor = None


def is_dead(path: str, name: str) -> bool:
    """Whether the process that held this lock is gone; ``False`` where nobody can tell."""
    if fcntl is None:
        return False
    try:
        descriptor = os.open(_file(path, name), os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _file(path, name).unlink(missing_ok=True)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
