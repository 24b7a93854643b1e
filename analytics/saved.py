"""Fitted models in files that say what they are: a kind, a version, and the fingerprint of the data they were fitted to."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import pickle
from pathlib import Path
from typing import Any

import msgspec

from warren.core.atomic import writing
from warren.core.errors import DataError, StorageError

__all__ = ["VERSION", "Header", "load", "save"]

VERSION = 1
"""Grows when what is written changes its meaning."""

_MAGIC = b"warren model\n"


class Header(msgspec.Struct):
    """What a file says of the model in it."""

    kind: str
    version: int
    fingerprint: str
    digest: str
    libraries: dict[str, str]


def save(path: str | os.PathLike[str], kind: str, model: Any, fingerprint: str) -> None:
    """Write a model to a file; it appears whole or not at all. Raises `StorageError` where it cannot be written."""
    body = pickle.dumps(model, protocol=5)
    header = Header(kind, VERSION, fingerprint, hashlib.blake2b(body, digest_size=16).hexdigest(), _libraries())
    try:
        with writing(Path(path)) as temporary:
            temporary.write_bytes(_MAGIC + msgspec.json.encode(header) + b"\n" + body)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written ({error}); name a file in a folder that is there and writable"
        ) from error


def load(path: str | os.PathLike[str], kind: str) -> tuple[Any, Header]:
    """Read a model of this kind. The file can run code, as any pickle: load only what you trust.

    Raises `StorageError` where it cannot be read or is damaged, `DataError` where it holds something else, another version,
    or what other libraries wrote.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({error.strerror}); name a file that save() wrote") from error
    if not data.startswith(_MAGIC):
        raise DataError(f"{path} holds no model of warren's; name a file that save() wrote")
    line, _, body = data.removeprefix(_MAGIC).partition(b"\n")
    try:
        header = msgspec.json.decode(line, type=Header)
    except msgspec.DecodeError as error:
        raise StorageError(f"{path} is damaged ({error}); fit the model again") from error
    if header.kind != kind:
        raise DataError(f"{path} holds a model of the kind {header.kind!r}, not {kind!r}; load it as what it is")
    if header.version != VERSION:
        raise DataError(f"{path} holds version {header.version} of a model, and this warren reads {VERSION}; fit it again")
    if hashlib.blake2b(body, digest_size=16).hexdigest() != header.digest:
        raise StorageError(f"{path} is damaged: its content is not what was written; fit the model again")
    now = _libraries()
    for name, was in header.libraries.items():
        if now.get(name, "") != was:
            raise DataError(
                f"{path} was written with {name} {was}, and here is {now.get(name) or 'none'}; fit the model again"
            )
    return pickle.loads(body), header  # noqa: S301 - the digest tells damage, the docstring whom to trust


def _libraries() -> dict[str, str]:
    """The libraries whose objects a model may hold, with the versions between which these do not travel."""
    found = {}
    for name in ("scikit-learn",):
        try:
            found[name] = ".".join(importlib.metadata.version(name).split(".")[:2])
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
