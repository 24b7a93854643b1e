"""What the commands print: tables for people, JSON for programs."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from warren.core.codecs import BYTES, MSGPACK, decoder, encode
from warren.core.errors import MessageError
from warren.core.message import Metadata

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["age", "as_json", "body_of", "cut", "lasting", "record", "say", "screen", "shown", "table", "when", "yes"]

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
yes = click.option("--yes", is_flag=True, help="Do not ask.")


def screen() -> Console:
    """A console that leaves it to the command what happens where nobody reads any more."""
    from rich.console import Console

    class Screen(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return Screen()


def table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows in columns."""
    widths = [max(len(row[i]) for row in (titles, *rows)) for i in range(len(titles))]
    for row in (titles, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def say(value: Mapping[str, Any]) -> None:
    """Print an object as one line of JSON."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str))


def cut(text: str, limit: int) -> str:
    r"""A text on one line that a terminal can show, cut where it is too long.

    >>> cut("a\nb\x1b[31m", 20)
    'a b\\x1b[31m'
    """
    line = "".join(each if each.isprintable() else repr(each)[1:-1] for each in " ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def when(timestamp: float) -> str:
    """A time as people read it; empty where it is not known."""
    try:
        return datetime.fromtimestamp(timestamp, UTC).isoformat(sep=" ", timespec="seconds") if timestamp else ""
    except (ValueError, OverflowError, OSError):
        return ""


def body_of(body: bytes, content_type: str) -> Mapping[str, Any]:
    r"""What a message holds: ``body`` where it is JSON or MessagePack, else its ``text``, or ``base64``.

    >>> body_of(b'{"a": 1}', "application/json"), body_of(b"hi", "text/plain"), body_of(b"\xff", "")
    ({'body': {'a': 1}}, {'text': 'hi'}, {'base64': '/w=='})
    """
    if content_type.partition(";")[0] in ("", "application/json", MSGPACK):
        try:
            value = decoder(Any, content_type or "application/json")(body)
            json.dumps(value)
            return {"body": value}
        except (MessageError, TypeError, ValueError):
            pass
    try:
        return {"text": bytes(body).decode()} if content_type != BYTES else {"base64": base64.b64encode(body).decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}


def shown(value: Any) -> Any:
    r"""A value as JSON can say it: as it is encoded, or in its own words.

    >>> shown({"a": (1, 2)}), shown(b'{"a": 1}'), shown(object)
    ({'a': [1, 2]}, {'a': 1}, "<class 'object'>")
    """
    try:
        body, content_type = (value, "") if isinstance(value, bytes) else encode(value)
        (held,) = body_of(body, content_type).values()
    except Exception:
        return repr(value)
    return held


def record(metadata: Metadata, body: bytes) -> dict[str, Any]:
    """A message as ``warren publish --records`` reads it."""
    known = {
        "id": metadata.id,
        "key": metadata.key,
        "headers": dict(metadata.headers),
        "timestamp": metadata.timestamp,
        "attempt": metadata.attempt,
        "content_type": metadata.content_type,
    }
    return {**known, **body_of(body, metadata.content_type)}


def age(timestamp: float) -> str:
    """How long ago that was, in its largest unit."""
    return lasting(max(0.0, time.time() - timestamp))


def lasting(passed: float) -> str:
    """A time in its largest unit.

    >>> lasting(0), lasting(90), lasting(7300)
    ('0s', '2m', '2h')
    """
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if passed >= length:
            return f"{passed / length:.0f}{unit}"
    return f"{passed:.0f}s"
