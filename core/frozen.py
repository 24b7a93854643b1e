"""State as bytes: keys so that equal ones are the same bytes, values so that they come back as they were."""

from __future__ import annotations

import pickle
from collections.abc import Hashable
from typing import Any

import msgspec

__all__ = ["Keys", "freeze", "freeze_key", "thaw", "thaw_key"]

_ODD = 1
"""The extension type under which a key is kept that is no text, number or tuple of these."""
_encode = msgspec.msgpack.Encoder().encode
_LEAST, _END = -(2**63), 2**63


class Keys:
    """The keys of one table and their bytes.

    Of most keys equal ones have the same bytes anyhow. Others, such as two equal times in different zones, have not; of
    these the bytes are remembered that the first had.

    >>> from decimal import Decimal
    >>> keys = Keys()
    >>> keys.freeze(Decimal("0.10")) == keys.freeze(Decimal("0.1"))
    True
    """

    __slots__ = ("_odd",)

    def __init__(self) -> None:
        self._odd: dict[Hashable, bytes] = {}

    def freeze(self, key: Hashable) -> bytes:
        """The bytes of a key. Raises what `pickle` raises for a key that cannot be kept."""
        kind = type(key)
        if kind is str or (kind is int and _LEAST <= key < _END):  # type: ignore[operator]  # it is an int
            return _encode(key)
        plain, odd = _plain(key)
        if not odd:
            return _encode(plain)
        found = self._odd.get(key)
        if found is None:
            found = self._odd[key] = _encode(plain)
        return found

    def thaw(self, data: bytes) -> Hashable:
        """The key that these are the bytes of, which are its bytes from now on."""
        key = thaw_key(data)
        if type(key) not in (str, int) and _plain(key)[1]:
            self._odd[key] = data
        return key

    def forget(self, key: Hashable) -> None:
        """Say that a key is needed no more."""
        if self._odd:
            self._odd.pop(key, None)


def freeze_key(key: Hashable) -> bytes:
    """The bytes of a key. Raises what `pickle` raises for a key that cannot be kept.

    >>> freeze_key(("eu", 1)) == freeze_key(("eu", 1.0)), thaw_key(freeze_key(("eu", 1)))
    (True, ('eu', 1))
    """
    return _encode(_plain(key)[0])


def _plain(key: Any) -> tuple[Any, bool]:
    """What stands for a key and all its equals, and whether others may stand for some of these."""
    if key is None or type(key) in (str, bytes):
        return key, False
    if isinstance(key, tuple) and _compares_as(key, tuple):
        parts = [_plain(each) for each in key]
        return [part for part, _ in parts], any(odd for _, odd in parts)
    if isinstance(key, str) and _compares_as(key, str):
        return str.__str__(key), False
    number = _number(key)
    if number is None:
        return msgspec.msgpack.Ext(_ODD, pickle.dumps(key, 5)), True
    if type(number) is int and not _LEAST <= number < _END:
        return msgspec.msgpack.Ext(_ODD, pickle.dumps(number, 5)), False
    return number, False


def _compares_as(key: Any, kind: Any) -> bool:
    return type(key).__eq__ is kind.__eq__ and hash(key) == kind.__hash__(key)


def _number(key: Any) -> int | float | None:
    """The number that a key is equal to, if any: 1, 1.0, True and Decimal(1) are one key of a dict."""
    if type(key) is int:
        return key
    for kind in (int, float):
        try:
            found = kind(key)
            if found == key and hash(found) == hash(key):
                return found
        except Exception:
            pass
    return key if type(key) is float else None


def thaw_key(data: bytes) -> Hashable:
    """The key that these are the bytes of; numbers, texts and tuples come back as the plain ones that they are equal to."""
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
