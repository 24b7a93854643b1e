"""How far a demonstration came, in one small file, so that a killed one goes on where it was."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import msgspec

from warren.core.atomic import writing
from warren.core.errors import AddressError, StorageError

__all__ = ["State", "clear", "load", "save"]

_FILE = "demo.json"
_MADE = ("hours", "flow", "report.html")


class State(msgspec.Struct):
    """What a run was asked for, and which part is under way; ``secret``: its broker has a password, which is not kept."""

    broker: str
    queue: str
    limit: int | None = None
    phase: Literal["publishing", "processing", "finished"] = "publishing"
    starts: int = 0
    secret: bool = False


def load(folder: Path) -> State | None:
    """The state of the run in a folder, if there is one.

    Raises `StorageError` where the file cannot be read.
    """
    try:
        return msgspec.json.decode((folder / _FILE).read_bytes(), type=State)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise AddressError(f"{folder} is a file; name a folder with --folder") from None
    except (OSError, msgspec.MsgspecError) as error:
        raise StorageError(
            f"{folder / _FILE} cannot be read: {error}; run the demo with --fresh or in another --folder"
        ) from error


def save(folder: Path, state: State) -> None:
    """Keep the state durably.

    Raises `StorageError` where the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with writing(folder / _FILE) as file:
            file.write_bytes(msgspec.json.encode(state))
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror}; name another folder with --folder") from error


def clear(folder: Path) -> None:
    """Remove what an earlier demonstration left.

    Raises `StorageError` where the folder holds something else, or cannot be written.
    """
    try:
        if folder.exists() and not (folder / _FILE).exists() and any(folder.iterdir()):
            raise StorageError(f"{folder} holds other files, which the demo leaves alone; name another folder with --folder")
        for path in [*(folder / name for name in _MADE), *folder.glob("broker.db*")]:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        # Last, so that a folder whose clearing was cut short is still known as the demo's.
        (folder / _FILE).unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be cleared: {error.strerror}; name another folder with --folder") from error
