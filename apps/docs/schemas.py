"""JSON schemas of the types that pass through a pipeline."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable
from typing import Any

import msgspec

from warren.core.arrow import ARROW, is_frame
from warren.core.codecs import JSON

__all__ = ["Schemas", "title_of"]

_PLACE = "#/components/schemas/{}"


def title_of(known: Any) -> str:
    """What to call a type.

    >>> title_of(int), title_of(list[str]), title_of(Any)
    ('int', 'list[str]', 'any')
    """
    if known is Any:
        return "any"
    if isinstance(known, type) and not typing.get_args(known):
        return known.__name__
    return re.sub(r"[\w.]+\.", "", repr(known))


class Schemas:
    """The schemas of some types, where they have one: named ones by name, and what stands for each type."""

    def __init__(self, types: Iterable[Any]) -> None:
        self.named: dict[str, dict[str, Any]] = {}
        self._whole: dict[str, dict[str, Any]] = {}
        # A type cannot always be hashed, with what it is annotated.
        self._of = [(each, self._add(each)) for each in types if each is not Any]

    def of(self, type: Any) -> dict[str, Any]:
        """What stands for a type where a schema is wanted; ``{}``, which is anything, where it has none."""
        return next((schema for known, schema in self._of if known == type), {})

    def content_type(self, type: Any) -> str | None:
        """How values of a type are encoded where nobody says; ``None`` where the type is not known."""
        if type is Any:
            return None
        return ARROW if is_frame(type) else JSON

    def files(self) -> dict[str, dict[str, Any]]:
        """A schema that stands by itself for each named type that is a message."""
        return self._whole

    def _add(self, type: Any) -> dict[str, Any]:
        if is_frame(type):
            return {"description": "A data frame, as an Arrow IPC stream."}
        try:
            schema, components = _described(type, "")
            number = 1
            # Types of different modules may have one name.
            while any(self.named.get(name, each) != each for name, each in components.items()):
                number += 1
                schema, components = _described(type, f"-{number}")
        except Exception:
            # What msgspec and pydantic cannot describe, a codec of the user's own encodes.
            return {}
        self.named |= components
        name = schema.get("$ref", "").rpartition("/")[2]
        if name:
            rest = {key: value for key, value in components.items() if key != name}
            self._whole[name] = {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                **components[name],
                **({"components": {"schemas": rest}} if rest else {}),
            }
        return schema


def _described(type: Any, behind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema of a type, and those it refers to by their names with ``behind`` after them."""
    try:
        (schema,), named = msgspec.json.schema_components([type], ref_template=_PLACE.format("{name}" + behind))
    except TypeError:
        import pydantic

        schema = pydantic.TypeAdapter(type).json_schema(ref_template=_PLACE.format("{model}" + behind))
        named = schema.pop("$defs", {})
        if schema.get("type") == "object" and "title" in schema:
            named[schema["title"]] = schema
            schema = {"$ref": _PLACE.format(schema["title"] + behind)}
    return schema, {name + behind: each for name, each in named.items()}
