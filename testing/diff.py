"""Comparing values, and showing two lists of them side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from typing import Any

from warren.core.errors import shorten

__all__ = ["matched", "same", "side_by_side"]

_WIDEST = 56
_MOST_ROWS = 40
_CONTEXT = 2


def same(left: object, right: object) -> bool:
    """Whether two values are equal; frames and arrays are, where all of them is.

    >>> import polars
    >>> same(1, 1.0), same(polars.DataFrame({"a": [1]}), polars.DataFrame({"a": [1]})), same(polars.DataFrame(), 1)
    (True, True, False)
    """
    if left is right:
        return True
    try:
        equals: Any = getattr(left, "equals", None)
        answer: Any = equals(right) if callable(equals) and type(left) is type(right) else left == right
        return answer if isinstance(answer, bool) else bool(answer.all() if hasattr(answer, "all") else answer)
    except Exception:
        return False


def matched(expected: Sequence[Any], actual: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Of two lists, whatever their order, what is missing in the second, and what is there beyond the first.

    >>> matched([1, 2, 2], [2, 3, 1])
    ([2], [3])
    """
    extra, missing = list(actual), []
    for value in expected:
        place = next((i for i, each in enumerate(extra) if same(value, each)), None)
        if place is None:
            missing.append(value)
        else:
            del extra[place]
    return missing, extra


def side_by_side(
    expected: Sequence[Any], actual: Sequence[Any], show: Callable[[Any], str] = lambda value: shorten(value, _WIDEST)
) -> list[str]:
    r"""Two lists beside each other, as lines: those that differ are marked, and long runs of equal ones left out.

    >>> print("\n".join(side_by_side(["a", "b", "c"], ["a", "c", "d"])))
        expected  actual
    0   'a'       'a'
    1 - 'b'
    2   'c'       'c'
    3 +           'd'
    """
    rows: list[tuple[str, str, str]] = []
    numbers = _numbers([*expected, *actual])
    matcher = SequenceMatcher(None, numbers[: len(expected)], numbers[len(expected) :], autojunk=False)
    for kind, i, i2, j, j2 in matcher.get_opcodes():
        left, right = [show(value) for value in expected[i:i2]], [show(value) for value in actual[j:j2]]
        for place in range(max(len(left), len(right))):
            a = left[place] if place < len(left) else ""
            b = right[place] if place < len(right) else ""
            rows.append((" " if kind == "equal" else "~" if a and b else "-" if a else "+", a, b))
    return _table(rows)


def _numbers(values: Sequence[Any]) -> list[int]:
    """One number for each value, the same for equal ones."""
    known: dict[Any, int] = {}
    others: list[tuple[Any, int]] = []
    numbers: list[int] = []
    for value in values:
        try:
            number = known.setdefault(value, len(known) + len(others))
        except TypeError:
            found = next((number for each, number in others if same(each, value)), None)
            number = len(known) + len(others) if found is None else found
            if found is None:
                others.append((value, number))
        numbers.append(number)
    return numbers


def _table(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    digits = len(str(max(len(rows) - 1, 0)))
    wide = max([len("expected"), *(len(left) for _, left, _ in rows)])
    near = {i + d for i, row in enumerate(rows) if row[0] != " " for d in range(-_CONTEXT, _CONTEXT + 1)}
    lines = [f"{'':{digits}}   {'expected':{wide}}  actual"]
    before = -1
    for shown, i in enumerate(i for i in range(len(rows)) if i in near):
        if shown == _MOST_ROWS:
            differing = sum(row[0] != " " for row in rows[i:])
            lines.append(f"… and {differing} more that differ")
            break
        if i != before + 1:
            lines.append(f"… {i - before - 1} equal")
        mark, left, right = rows[i]
        lines.append(f"{i:{digits}} {mark} {left:{wide}}  {right}".rstrip())
        before = i
    return lines
