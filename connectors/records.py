"""What a queue stores of the messages it is asked to write, as a struct of arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from warren.core.arrow import is_frame
from warren.core.chunk import apply_each
from warren.core.codecs import BYTES, JSON, encode, encoder
from warren.core.errors import EncodeError, shorten
from warren.core.message import Batch, Encoded, Outgoing

__all__ = ["Records", "part", "records"]

_BYTES_LIKE = {bytes, bytearray, memoryview}
_NONE: dict[str, str] = {}
_to_json = encoder(JSON)


class Records(NamedTuple):
    """Encoded messages; a column that says nothing of any of them is ``None``, and ``""`` is an id not given.

    ``content_type`` is one for all, or one per message.
    """

    bodies: Sequence[bytes]
    content_type: str | Sequence[str] = JSON
    ids: Sequence[str] | None = None
    keys: Sequence[str | None] | None = None
    headers: Sequence[Mapping[str, str]] | None = None

    def part(self, where: slice) -> Records:
        """A slice of every column."""
        columns: Any = [each if each is None or isinstance(each, str) else each[where] for each in self]
        return Records(*columns)

    def chosen(self, places: Sequence[int]) -> Records:
        """Some messages of every column."""
        columns: Any = [each if each is None or isinstance(each, str) else [each[i] for i in places] for each in self]
        return Records(*columns)


def records(
    messages: Outgoing,
    key: Callable[[Any], str | None] | None = None,
    headers: Callable[[Any], Mapping[str, str]] | None = None,
) -> tuple[Records, dict[int, Exception]]:
    """Encode what is to be written; returns it without the messages that cannot be, and why those cannot, by position.

    Bytes stay as they are with the content type of their metadata, and so does what is `Encoded`; data frames become Arrow
    and everything else JSON.
    ``key`` and ``headers`` compute from the value what the metadata does not say.

    >>> from warren.core.message import Outgoing
    >>> records(Outgoing([{"a": 1}, object()]))[0].bodies
    [b'{"a":1}']
    """
    values = messages.values
    known = messages.columns()
    content_type: str | list[str] = JSON
    kinds = set(map(type, values))
    if kinds.isdisjoint(_BYTES_LIKE) and Encoded not in kinds and not any(map(is_frame, kinds)):
        bodies, errors = apply_each(_to_json, values)
        if errors:
            bodies, content_type, errors = _encode_each(values, [""] * len(values))
    elif kinds == {bytes} and messages.anonymous:
        bodies, content_type, errors = list(values), BYTES, {}
    elif kinds.isdisjoint(_BYTES_LIKE):
        bodies, content_type, errors = _encode_each(values, [""] * len(values))
    else:
        types = [""] * len(values) if messages.anonymous else [messages.metadata(i).content_type for i in range(len(values))]
        bodies, content_type, errors = _encode_each(values, types)
    ids = known.ids
    keys = known.keys
    given = [dict(each) if each else _NONE for each in known.headers] if known.headers is not None else None
    _check(ids, str, "id", errors)
    _check(keys, str | None, "key", errors)
    _check(given, dict[str, str], "headers", errors, _NONE)
    values = messages.originals()
    if key is not None:
        found = _compute("key", key, values, str | None, errors)
        keys = [old or new for old, new in zip(keys, found, strict=True)] if keys is not None else found
    if headers is not None:
        new = [each or {} for each in _compute("headers", headers, values, dict[str, str], errors)]
        given = [{**a, **b} for a, b in zip(new, given, strict=True)] if given is not None else [*new]
    if errors:
        keep = [i for i in range(len(values)) if i not in errors]
        bodies = [bodies[i] for i in keep]
        content_type = content_type if isinstance(content_type, str) else [content_type[i] for i in keep]
    else:
        keep = None
    told: Any = (_kept(column, keep) for column in (ids, keys, given))
    return Records(bodies, content_type, *told), errors


def _kept(column: Sequence[Any] | None, keep: list[int] | None) -> Sequence[Any] | None:
    """A column without what could not be encoded, or ``None`` where it says nothing."""
    if column is not None and keep is not None:
        column = [column[i] for i in keep]
    return column if column is not None and any(column) else None


def _encode_each(values: Sequence[Any], types: Sequence[str]) -> tuple[list[bytes], str | list[str], dict[int, Exception]]:
    bodies: list[bytes] = []
    chosen: list[str] = []
    errors: dict[int, Exception] = {}
    for i, (value, content_type) in enumerate(zip(values, types, strict=True)):
        if type(value) is Encoded:
            bodies.append(value.body)
            chosen.append(value.content_type)
            continue
        try:
            body, content_type = encode(value, content_type if type(value) in _BYTES_LIKE else None)
        except EncodeError as error:
            errors[i] = error
            body = b""
        bodies.append(body)
        chosen.append(content_type)
    return bodies, chosen[0] if len(set(chosen)) == 1 else chosen, errors


def _compute(
    what: str, function: Callable[[Any], Any], values: Sequence[Any], kind: Any, errors: dict[int, Exception]
) -> list[Any]:
    results, wrong = apply_each(function, values)
    for i, error in sorted(wrong.items()):
        results.insert(i, None)
        errors.setdefault(
            i, EncodeError(f"{what}= of the queue raised {error!r} for {shorten(values[i])}; let it answer for every value")
        )
    refused = _check(results, kind, what, errors) - wrong.keys()
    return [None if i in refused else result for i, result in enumerate(results)] if refused else results


def _check(
    column: Sequence[Any] | None, kind: Any, what: str, errors: dict[int, Exception], right: object = None
) -> set[int]:
    """Refuse the messages whose id, key or headers could not be read back; returns their positions.

    ``right`` need not be looked at, as often as it is there.
    """
    if column is None or not any(column):
        return set()
    try:
        msgspec.convert(column if right is None else [each for each in column if each is not right], list[kind])
    except msgspec.ValidationError:
        wrong = apply_each(lambda each: msgspec.convert(each, kind), column)[1]
        for i, error in wrong.items():
            reason = f"its {what} {shorten(column[i])} cannot be stored: {error}; use text"
            errors.setdefault(i, EncodeError(f"a message cannot be written: {reason}"))
        return set(wrong)
    return set()


def part(batch: Batch, where: slice) -> Batch:
    """A slice of a batch.

    >>> part(Batch(bodies=["a", "b"], handles=[1, 2]), slice(1, None)).bodies
    ['b']
    """
    columns: Any = (getattr(batch, name) for name in batch.__struct_fields__)
    sliced: Any = [each if each is None or isinstance(each, str | int) else each[where] for each in columns]
    return Batch(*sliced)


def joined(parts: Sequence[Records]) -> Records:
    """Records that follow each other, as one.

    >>> joined([Records([b"1"]), Records([b"2"], ids=["x"])])
    Records(bodies=[b'1', b'2'], content_type='application/json', ids=['', 'x'], keys=None, headers=None)
    """
    if len(parts) == 1:
        return parts[0]

    def column(name: str, missing: Any) -> Any:
        columns = [getattr(each, name) for each in parts]
        if all(each is None for each in columns):
            return None
        filled = (
            each if each is not None else [missing] * len(part.bodies) for each, part in zip(columns, parts, strict=True)
        )
        return [value for each in filled for value in each]

    types = [each.content_type for each in parts]
    content_type: Any = types[0]
    if not isinstance(content_type, str) or any(each != content_type for each in types):
        content_type = []
        for each, kind in zip(parts, types, strict=True):
            content_type += [kind] * len(each.bodies) if isinstance(kind, str) else kind
    return Records(column("bodies", b""), content_type, column("ids", ""), column("keys", None), column("headers", {}))
