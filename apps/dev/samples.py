"""Sample messages: from a file, or made from the type that a source decodes to."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from warren.apps.docs.schemas import Schemas, title_of
from warren.apps.publish import message
from warren.core.codecs import JSON, decoder
from warren.core.errors import AddressError
from warren.core.message import Metadata

__all__ = ["Sample", "made", "read", "shared"]

Sample = tuple[bytes, Metadata]

_KNOWN = Metadata(content_type=JSON)
_DEEP, _TIMES = 6, 100
_TIME = re.compile(r"RFC3339 encoded (?P<what>datetime|time)(?: - at `\$(?P<path>.*)`)?")
_NULL = {"type": "null"}
_PLACE = re.compile(r"\.?([\w-]+|\.\.\.)")
_TEXTS = {
    "date-time": "2026-01-{:02}T12:00:00Z",
    "date": "2026-01-{:02}",
    "time": "12:{:02}:00",
    "duration": "PT{}M",
    "uuid": "00000000-0000-4000-8000-0000000000{:02}",
    "email": "user{}@shop.example",
    "uri": "https://shop.example/{}",
    "decimal": "{}.50",
}


def read(file: Path, records: bool) -> list[Sample]:
    """The lines of a file as messages, as ``warren publish`` reads them. Raises `AddressError` where one is none."""
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError as error:
        raise AddressError(f"the samples in {str(file)!r} cannot be read: {error.strerror}; check the path") from error
    found = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(message(line, records))
            except (ValueError, msgspec.MsgspecError) as error:
                raise AddressError(
                    f"{file}, line {number} is no message: {error}; write JSON, one message a line"
                ) from error
    if not found:
        raise AddressError(f"there are no samples in {str(file)!r}; write JSON, one message a line")
    return found


def made(type: Any, count: int) -> list[Sample]:
    """Messages that a type says all of, as far as its schema goes. Raises `AddressError` where none can be made.

    >>> import msgspec
    >>> Order = msgspec.defstruct("Order", [("id", str), ("amount", float)])
    >>> [body for body, _ in made(Order, 2)]
    [b'{"id":"id-1","amount":1.5}', b'{"id":"id-2","amount":2.5}']
    """
    schemas = Schemas([] if type is None else [type])
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}} if type is None else schemas.of(type)
    decode = decoder(Any if type is None else type, JSON)
    return [(_fitting(_example(schema, schemas.named, i, "value"), i, decode, type), _KNOWN) for i in range(1, count + 1)]


def _fitting(value: Any, i: int, decode: Callable[[bytes], Any], type: Any) -> bytes:
    """A value as JSON that is decoded. Of a time that may be without a zone a schema does not say that it is one."""
    problem = None
    for _ in range(_TIMES):
        body = msgspec.json.encode(value)
        try:
            decode(body)
            return body
        except Exception as error:
            problem, found = error, _TIME.search(str(error))
        if found is None:
            break
        text = _TEXTS["date-time" if found["what"] == "datetime" else "time"].format(i % 28 + 1)
        value = _put(value, _PLACE.findall(found["path"] or ""), text)
    raise AddressError(
        f"no sample can be made of {title_of(type)}: {problem}; give some in a file with --samples FILE"
    ) from problem


def _put(value: Any, path: list[str], text: str) -> Any:
    """The value with a text at a place in it; ``[...]`` is every place of a mapping."""
    if not path:
        return text
    place, rest = path[0], path[1:]
    if isinstance(value, list):
        return [_put(each, rest, text) if str(i) == place else each for i, each in enumerate(value)]
    return {key: _put(each, rest, text) if place in (key, "...") else each for key, each in value.items()}


def _example(schema: Mapping[str, Any], named: Mapping[str, Any], i: int, name: str, depth: int = 0) -> Any:
    """The ``i``-th value that a JSON schema allows, from 1 on."""
    if depth > _DEEP:
        return None

    def inner(part: Any, under: str) -> Any:
        return _example(part if isinstance(part, Mapping) else {}, named, i, under, depth + 1)

    if "$ref" in schema:
        return inner(named.get(schema["$ref"].rpartition("/")[2], {}), name)
    if "const" in schema:
        return schema["const"]
    if choice := schema.get("examples") or schema.get("enum"):
        return choice[(i - 1) % len(choice)]
    if parts := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        chosen = parts[(i - 1) % len(parts)]
        # What holds its own kind has to end somewhere.
        return inner(_NULL if depth > 1 and _NULL in parts else chosen, name)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[(i - 1) % len(kind)]
    if kind == "object":
        own = {key: inner(part, key) for key, part in schema.get("properties", {}).items()}
        others = schema.get("additionalProperties")
        return own if "properties" in schema or others is False else {"a": inner(others, name)}
    if kind == "array":
        if "prefixItems" in schema:
            return [inner(part, name) for part in schema["prefixItems"]]
        return [inner(schema.get("items", {}), name) for _ in range(max(1, schema.get("minItems", 1)))]
    if kind in ("integer", "number"):
        return _number(schema, i, whole=kind == "integer")
    if kind == "boolean":
        return i % 2 == 1
    if kind == "null":
        return None
    return _text(schema, i, name)


def _number(schema: Mapping[str, Any], i: int, whole: bool) -> Any:
    step = schema.get("multipleOf", 1)
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    value = low + i * step + (0 if whole or "multipleOf" in schema else 0.5)
    return value if high is None or value < high else (low if "minimum" in schema else (low + high) / 2)


def _text(schema: Mapping[str, Any], i: int, name: str) -> str:
    if "contentEncoding" in schema:
        return "AAAA"
    if schema.get("format") in _TEXTS:
        return _TEXTS[schema["format"]].format(i % 28 + 1)
    text = f"{name}-{i}".ljust(schema.get("minLength", 0), "x")
    return text[-schema["maxLength"] :] if schema.get("maxLength") else text


def shared(sources: Sequence[str], given: Sequence[str]) -> dict[str, Path]:
    """Which file is for which source: ``FILE`` for the only one, ``SOURCE=FILE`` where there are several."""
    files: dict[str, Path] = {}
    for each in given:
        source, sign, file = each.partition("=")
        if not sign and len(sources) == 1:
            source, file = sources[0], each
        if source not in sources:
            raise AddressError(f"--samples {each}: write SOURCE=FILE, with one of {', '.join(sources)}")
        files[source] = Path(file)
    return files
