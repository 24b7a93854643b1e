"""Marbles: what happens when, as a line of text."""

from __future__ import annotations

import re
from typing import NamedTuple

from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError, shorten

__all__ = ["BROKEN", "END", "Marbles", "Mark", "frame_length"]

BROKEN = "#"
END = "|"

_TIME = re.compile(r"(?:\d+(?:\.\d+)?(?:us|ms|s|m|h|d|w))+(?=\s|$)")
_HELP = "write a letter or a digit for a message, - for a frame that passes, # for a failed message, | for the end"


class Mark(NamedTuple):
    """One message: when it comes, in seconds, and the letter it is drawn with."""

    at: float
    symbol: str


class Marbles:
    """Messages in time, drawn as ``"a-b--(cd)#|"``: each mark takes one frame.

    - a letter or a digit is a message, ``#`` one that cannot be decoded or has failed, ``-`` a frame in which nothing comes
    - ``(ab)`` are messages of one frame, ``|`` is the end, also in a group: ``(c|)``
    - spaces mean nothing, so that lines can be written below each other; a length of time between spaces passes it, as
      in ``"a 1h b|"``

    ``marks`` are the messages, ``end`` is when it ends or ``None``, ``length`` how long the drawing is, all in seconds.
    Raises `GraphError` where the text is no such drawing; the sentence names the character.

    >>> marbles = Marbles("a-(bc) 1m #|", frame="1s")
    >>> marbles.marks
    [Mark(at=0.0, symbol='a'), Mark(at=2.0, symbol='b'), Mark(at=2.0, symbol='c'), Mark(at=63.0, symbol='#')]
    >>> marbles.end
    64.0
    """

    def __init__(self, text: str, frame: Duration = "1s") -> None:
        if not isinstance(text, str):
            raise GraphError(f"marbles {text!r}: give a text, such as 'a-b--c|'")
        self.text = text
        self.frame = frame_length(frame)
        self.marks: list[Mark] = []
        self.end: float | None = None
        self._frames = 0
        self._passed = 0.0
        self._group: int | None = None
        place = 0
        while place < len(text):
            time = _TIME.match(text, place) if place == 0 or text[place - 1].isspace() else None
            if time is not None:
                self._pass(place, time[0])
                place = time.end()
            else:
                self._read(place, text[place])
                place += 1
        if self._group is not None:
            raise self._wrong(self._group, "this group is never closed; write (ab)")

    @property
    def length(self) -> float:
        """How many seconds the drawing is long."""
        return self._frames * self.frame + self._passed

    def _wrong(self, place: int, reason: str) -> GraphError:
        return GraphError(f"marbles {shorten(self.text)}, character {place + 1} ({self.text[place]!r}): {reason}")

    def _pass(self, place: int, time: str) -> None:
        if self.end is not None:
            raise self._wrong(place, "nothing comes after the end, |")
        if self._group is not None:
            raise self._wrong(place, "no time passes within a group")
        self._passed += seconds(time)

    def _read(self, place: int, char: str) -> None:
        if char.isspace():
            return
        if self.end is not None and not (char == ")" and self._group is not None):
            raise self._wrong(place, "nothing comes after the end, |")
        grouped = self._group is not None
        if char == "(":
            if grouped:
                raise self._wrong(place, "a group cannot hold a group")
            self._group = place
            return
        if char == ")":
            if self._group is None:
                raise self._wrong(place, "no group was opened before it; write (ab)")
            if not self.text[self._group + 1 : place].strip():
                raise self._wrong(place, "a group must not be empty; write - for a frame in which nothing comes")
            self._group = None
            grouped = False
        elif char == END:
            self.end = self.length
        elif char == BROKEN or char.isalnum():
            self.marks.append(Mark(self.length, char))
        elif char != "-":
            raise self._wrong(place, f"it means nothing here; {_HELP}")
        elif grouped:
            raise self._wrong(place, "no time passes within a group")
        if not grouped:
            self._frames += 1

    def __repr__(self) -> str:
        """As it was written."""
        return f"Marbles({self.text!r})"


def frame_length(frame: Duration) -> float:
    """How many seconds a frame takes; `GraphError` where that is nothing.

    >>> frame_length("10ms")
    0.01
    """
    length = seconds(frame)
    if not length:
        raise GraphError(f"frame={frame!r}: a frame must be longer than 0")
    return length
