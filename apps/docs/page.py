"""A pipeline as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from warren.apps.docs.contents import Contents, End
from warren.apps.docs.schemas import title_of

__all__ = ["page"]


def page(told: Contents) -> str:
    """The graph, the guarantees, what is read and written, and the fields of each message.

    >>> from warren import Pipeline
    >>> from warren.apps.docs.contents import contents
    >>> from warren.connectors import memory
    >>> print(page(contents(Pipeline("orders", memory.queue("in", str) | memory.queue("out")))).splitlines()[0])
    # orders
    """
    return "\n".join(_lines(told)) + "\n"


def _lines(told: Contents) -> Iterator[str]:
    pipeline = told.pipeline
    yield from (f"# {_text(pipeline.name)}", "", "```mermaid", pipeline.explain().mermaid, "```", "")
    yield from ("## What it does and guarantees", "", "```text", pipeline.explain(), "```", "")
    yield "A message is acknowledged when everything made of it is written, filtered out, or a durable dead letter."
    yield "It may be delivered twice after a crash, and is never lost. What fails and no step takes becomes a dead letter."
    if pipeline.state is not None:
        yield "What steps remember is kept in checkpoints; a message is acknowledged when one of them has its effect."
    yield from ("", "## What it reads and writes", "", "| | where | server | message |", "|---|---|---|---|")
    for end in told.ends:
        yield f"| {end.role} | `{_code(end.name)}` | {_text(_server(end))} | {_linked(told, end.type)} |"
    if told.schemas.named:
        yield from ("", "## Messages")
    for name, schema in sorted(told.schemas.named.items()):
        yield from ("", f"### {_text(name)}", "")
        yield from _fields(schema)


def _server(end: End) -> str:
    path = f"/{end.place.path.lstrip('/')}" if end.place.path else ""
    return ", ".join(f"{end.place.protocol}://{host}{path}" for host in end.place.hosts) or end.place.protocol


def _linked(told: Contents, type: Any) -> str:
    title = _text(title_of(type))
    name = told.schemas.of(type).get("$ref", "").rpartition("/")[2]
    return f"[{title}](schemas/{name}.json)" if name else title


def _fields(schema: dict[str, Any]) -> Iterator[str]:
    if said := schema.get("description"):
        yield from (_text(said), "")
    if "properties" not in schema:
        yield f"`{_code(_type(schema))}`"
        return
    yield from ("| field | type | |", "|---|---|---|")
    for name, each in schema["properties"].items():
        needed = "" if name in schema.get("required", ()) else "optional"
        said = ", ".join(filter(None, (needed, each.get("description"))))
        yield f"| `{_code(name)}` | {_text(_type(each))} | {_text(said)} |"


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if either := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(map(_type, either))
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    kind = str(schema.get("type", "any"))
    if kind == "array" and isinstance(schema.get("items"), dict):
        return f"array of {_type(schema['items'])}"
    limits = ("format", "pattern", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "minLength", "maxLength")
    return ", ".join([kind, *(f"{limit} {schema[limit]}" for limit in limits if limit in schema)])


def _text(text: str) -> str:
    """A text in one line of Markdown, in a table too."""
    for sign in "\\`*_[]<>|#":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())


def _code(text: str) -> str:
    """A text between backticks, in a table too."""
    return " ".join(text.replace("`", "'").replace("|", "\\|").split())
