"""Models in files that say what they are: a kind, a version, and the fingerprint of the data that they were fitted to."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import pickle
from pathlib import Path
from typing import Any, Literal

import msgspec

from warren.core.atomic import writing
from warren.core.errors import DataError, StorageError

__all__ = ["VERSION", "Header", "load", "save"]

VERSION = 2
"""Grows when what is written changes its meaning."""

_MAGIC = b"warren model\n"


class Header(msgspec.Struct):
    """What a file says of the model in it; ``kind`` may name which one of its kind, as in ``detector/novelty``."""

    kind: str
    version: int
    fingerprint: str
    digest: str
    format: Literal["msgpack", "pickle"]
    libraries: dict[str, str]


def save(path: str | os.PathLike[str], kind: str, model: Any, fingerprint: str, *, pickled: bool = False) -> None:
    """Write a model to a file; it appears whole or not at all.

    ``model`` is plain values: numbers, texts, bytes, lists and dicts; only where it holds objects of others is it pickled.
    Raises `StorageError` where it cannot be written.
    """
    body = pickle.dumps(model, protocol=5) if pickled else msgspec.msgpack.encode(model)
    digest = hashlib.blake2b(body, digest_size=16).hexdigest()
    header = Header(kind, VERSION, fingerprint, digest, "pickle" if pickled else "msgpack", _libraries() if pickled else {})
    try:
        with writing(Path(path)) as temporary:
            temporary.write_bytes(_MAGIC + msgspec.json.encode(header) + b"\n" + body)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written ({error}); name a file in a folder that is there and writable"
        ) from error


def load(
    path: str | os.PathLike[str], kind: str, fingerprint: str | None = None, *, pickled: bool = False
) -> tuple[Any, Header]:
    """Read a model of this kind, fitted to the data of that fingerprint if one is given.

    With ``pickled`` the file can run code, as any pickle: load only what you trust. Without it nothing in it is executed.

    Raises `StorageError` where it cannot be read or is damaged, `DataError` where it holds something else, another version,
    what other libraries wrote, or a model of other data.
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
        raise StorageError(f"{path} is damaged ({error}), or of another version; fit the model again") from error
    if header.kind.partition("/")[0] != kind or (header.format == "pickle") != pickled:
        raise DataError(f"{path} holds a model of the kind {header.kind!r}, not {kind!r}; load it as what it is")
    if header.version != VERSION:
        raise DataError(f"{path} holds version {header.version} of a model, and this warren reads {VERSION}; fit it again")
    if hashlib.blake2b(body, digest_size=16).hexdigest() != header.digest:
        raise StorageError(f"{path} is damaged: its content is not what was written; fit the model again")
    if fingerprint not in (None, header.fingerprint):
        raise DataError(
            f"{path} learned the data {header.fingerprint}, not {fingerprint}; name the file of that data, or learn anew"
        )
    now = _libraries()
    for name, was in header.libraries.items():
        if now.get(name, "") != was:
            raise DataError(
                f"{path} was written with {name} {was}, and here is {now.get(name) or 'none'}; fit the model again"
            )
    # The digest tells damage, the docstring whom to trust.
    return (pickle.loads(body) if pickled else msgspec.msgpack.decode(body)), header  # noqa: S301


def _libraries() -> dict[str, str]:
    """The libraries whose objects a model may hold, with the versions between which these do not travel."""
    found = {}
    for name in ("scikit-learn",):
        try:
            found[name] = ".".join(importlib.metadata.version(name).split(".")[:2])
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
