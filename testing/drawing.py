"""Drawing what happened in each frame as marbles, several lines below each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from warren.testing.marbles import END

__all__ = ["Line", "draw", "duration", "frame_at"]

_LONGEST_GAP = 12

_UNITS = (("d", 86400), ("h", 3600), ("m", 60))


class Line(NamedTuple):
    """What is drawn in one line: a label, the marks of each frame, and the frame in which it ends, where that counts."""

    label: str
    frames: Mapping[int, Sequence[str]]
    end: int | None = None

    def cell(self, frame: int) -> str:
        """The marks of one frame; empty behind the end."""
        marks = [*self.frames.get(frame, ()), *([END] if frame == self.end else [])]
        if not marks:
            return "" if self.end is not None and frame > self.end else "-"
        return marks[0] if len(marks) == 1 else f"({''.join(marks)})"


def frame_at(time: float, frame: float) -> int:
    """The frame in which a time lies; timers may fire a little too early.

    >>> frame_at(2.9999999, 1.0), frame_at(2.5, 1.0)
    (3, 2)
    """
    return int((time + min(1e-5, frame / 4)) / frame)


def duration(length: float) -> str:
    """A length of time, as marbles show it.

    >>> duration(5400), duration(0.25), duration(0)
    ('1h30m', '0.25s', '0s')
    """
    text, rest = "", length
    for unit, size in _UNITS:
        if rest >= size:
            text += f"{int(rest // size)}{unit}"
            rest %= size
    rest = round(rest, 6)
    return text + (f"{rest:g}s" if rest or not text else "")


def draw(lines: Sequence[Line], frame: float, marked: Sequence[int] = ()) -> list[str]:
    r"""The lines below each other, and one with a caret below each of the ``marked`` frames, if there is any.

    >>> print("\n".join(draw([Line("expected", {0: "a", 2: "bc"}), Line("actual", {0: "a", 3: "b"}, 4)], 1.0, [2, 3])))
    expected  a-(bc)--
    actual    a--   b|
                ^   ^
    """
    used = sorted({f for line in lines for f in line.frames} | {line.end for line in lines if line.end is not None})
    width = max(len(line.label) for line in lines) + 2
    rows = [line.label.ljust(width) for line in lines]
    carets = " " * width
    before = -1
    for at in used:
        gap = at - before - 1
        passed = [(None, "-")] * gap if gap <= _LONGEST_GAP else [(None, f" {duration(gap * frame)} ")]
        for number, text in [*passed, (at, "")]:
            # A frame that passes stands in every line that has not ended; so does the length of a gap.
            cells = [line.cell(at) if number is not None else ("" if _ended(line, before) else text) for line in lines]
            wide = max(map(len, cells))
            rows = [row + cell.ljust(wide) for row, cell in zip(rows, cells, strict=True)]
            carets += ("^" if number in marked and number is not None else "").ljust(wide)
        before = at
    return [row.rstrip() for row in [*rows, carets] if row.strip()]


def _ended(line: Line, frame: int) -> bool:
    return line.end is not None and frame >= line.end
