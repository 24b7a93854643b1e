"""State as bytes: keys so that equal ones are the same bytes, values so that they come back as they were."""

from __future__ import annotations

import pickle
from collections.abc import Hashable
from typing import Any

import msgspec

__all__ = ["freeze", "freeze_key", "thaw", "thaw_key"]

_ODD = 1
"""The extension type under which a key is kept that is no text, number or tuple of these."""
_encode = msgspec.msgpack.Encoder().encode


def freeze_key(key: Hashable) -> bytes:
    """The bytes of a key. Raises what `pickle` raises for a key that cannot be kept.

    >>> freeze_key(("eu", 1)) == freeze_key(("eu", 1.0)), thaw_key(freeze_key(("eu", 1)))
    (True, ('eu', 1))
    """
    return _encode(key if type(key) is str or (type(key) is int and -(2**63) <= key < 2**63) else _plain(key))


def _plain(key: Any) -> Any:
    if type(key) is tuple:
        return [_plain(each) for each in key]
    if key is None or isinstance(key, bytes) or type(key) is str:
        return key
    if isinstance(key, int | float) and type(key) in (bool, int, float):
        # 1, 1.0 and True are one key of a dict.
        whole = int(key) if key == key and abs(key) < 2**63 else None
        if whole is not None and whole == key:
            return whole
        if type(key) is float:
            return key
    return msgspec.msgpack.Ext(_ODD, pickle.dumps(key, 5))


def thaw_key(data: bytes) -> Hashable:
    """The key that these are the bytes of."""
    return _tuples(msgspec.msgpack.decode(data, ext_hook=_odd))  # type: ignore[no-any-return]  # a key


def _tuples(found: Any) -> Any:
    return tuple(map(_tuples, found)) if isinstance(found, list) else found


def _odd(code: int, data: memoryview) -> Any:
    return thaw(data)


def freeze(value: Any) -> bytes:
    """The bytes of a value. Raises what `pickle` raises for one that cannot be kept.

    >>> thaw(freeze({"n": (1, 2)}))
    {'n': (1, 2)}
    """
    return pickle.dumps(value, 5)


def thaw(data: bytes | memoryview) -> Any:
    """The value that these are the bytes of; only for files that are trusted as the program is."""
    return pickle.loads(data)  # noqa: S301  the pipeline's own state, which nobody else writes
