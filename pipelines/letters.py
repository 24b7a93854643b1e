"""What dead letters hold: messages as they came from their source, or the pieces of them that failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from warren.core.codecs import decoder, encode
from warren.core.errors import EncodeError
from warren.core.receipt import Delivery, Ledger, Part, Piece, Token

__all__ = ["ROW", "Content", "Contents", "reason"]

_LONGEST_REASON = 4096
"""Characters of an error's text that a dead letter carries; some errors show the whole message."""

ROW = "warren-row"
"""The header of a letter that holds a piece of a message: which one."""


class Content(NamedTuple):
    """What one dead letter holds of the message ``origin``; ``part`` is where the piece of it began, ``row`` its name."""

    delivery: Delivery
    origin: int
    body: Any
    content_type: str
    part: int | None = None
    row: str = ""


class Contents:
    """Finds what the letters for a failed value hold; keeps the message it decoded last, as pieces of one fail together."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._last: tuple[int, Any] | None = None

    def of(self, token: Token) -> Iterator[Content]:
        """One for each message that a value descends from, unless it is written already.

        Where the operator that took a message apart can tell which piece failed, the letter holds that piece alone.
        """
        found: dict[int, tuple[Piece | None, list[int]]] = {}
        for origin, piece, place in _pieces(token):
            found.setdefault(origin, (piece, []))[1].append(place)
        for origin, (piece, places) in found.items():
            delivery = self.ledger.delivery(origin)
            if delivery is None or origin in delivery.dead:
                continue
            if piece is not None:
                places = [place for place in places if (origin, place) not in delivery.dead]
                if not places:
                    continue
                content = self._part(delivery, origin, piece, places)
                if content is not None:
                    delivery.dead.update((origin, place) for place in places)
                    yield content
                    continue
            delivery.dead.add(origin)
            yield Content(delivery, origin, *_body(delivery, origin))

    def _part(self, delivery: Delivery, origin: int, piece: Piece, places: list[int]) -> Content | None:
        try:
            if self._last is None or self._last[0] != origin:
                self._last = origin, _value(delivery, origin)
            found = piece(self._last[1], places)
            return None if found is None else Content(delivery, origin, *encode(found[0]), places[0], found[1])
        except Exception:
            # A piece is a convenience: where it cannot be had, the whole message can.
            return None

    def forget(self) -> None:
        """Let go of the message that was decoded last."""
        self._last = None


def _value(delivery: Delivery, origin: int) -> Any:
    """The value of a message, decoded as its source says."""
    place = origin - delivery.base
    body, type = delivery.batch.bodies[place], delivery.source.inlet.type  # type: ignore[attr-defined]  # it is a Reader
    if type is None or not isinstance(body, bytes):
        return body
    return decoder(type, delivery.batch.metadata(place).content_type)(body)


def _pieces(token: Token) -> Iterator[tuple[int, Piece | None, int]]:
    """The source tokens a token descends from; beside each, which piece of that message it is, if an operator can tell."""
    if isinstance(token, int):
        yield token, None, 0
    elif isinstance(token, Part):
        split = token.split
        if split.piece is not None and isinstance(split.parent, int):
            yield split.parent, split.piece, token.index
        else:
            yield from _pieces(split.parent)
    else:
        for segment in token.segments:
            for each in segment:
                yield from _pieces(each)


def _body(delivery: Delivery, origin: int) -> tuple[Any, str]:
    body = delivery.batch.bodies[origin - delivery.base]
    if isinstance(body, bytes):
        return body, delivery.batch.metadata(origin - delivery.base).content_type
    try:
        return encode(body)
    except EncodeError:
        return repr(body).encode(errors="backslashreplace"), "text/plain"


def reason(error: Exception) -> str:
    """What an error says."""
    try:
        return str(error)[:_LONGEST_REASON]
    except Exception:
        return "the error's own text cannot be read"
