"""Comparing what happened with what marbles say, and saying where they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from warren.core.errors import shorten
from warren.pipelines.trial import Trial
from warren.testing.diff import same
from warren.testing.drawing import Line, draw, duration, frame_at
from warren.testing.marbles import BROKEN, Marbles
from warren.testing.timeline import Happening

__all__ = ["Row", "compare"]

_MOST_SENTENCES = 8


class Row(NamedTuple):
    """What is expected at one place, or at all of them where it has no name, and what happened there."""

    place: str
    expected: Marbles
    happened: Sequence[Happening]


class _Cell(NamedTuple):
    values: list[Any]
    dead: int


def compare(
    name: str, given: Mapping[str, Marbles], rows: Sequence[Row], trial: Trial, values: Mapping[str, Any], frame: float
) -> str:
    """The text that shows where the rows differ; empty where they do not."""
    letters = _Letters(values, [mark.symbol for row in rows for mark in row.expected.marks])
    lines = [_line(f"given {source}".rstrip(), marbles, frame) for source, marbles in given.items()]
    wrong: set[int] = set()
    sentences: list[str] = []
    for row in rows:
        ended = frame_at(trial.elapsed, frame)
        expected, actual = _expected(row.expected, letters, frame), _actual(row.happened, frame)
        lines.append(_line(f"expected {row.place}".rstrip(), row.expected, frame))
        lines.append(_drawn(f"actual {row.place}".rstrip(), actual, letters, None if row.expected.end is None else ended))
        nothing = _Cell([], 0)
        where = f" at {row.place}" if row.place else ""
        for at in sorted(expected.keys() | actual.keys()):
            want, got = expected.get(at, nothing), actual.get(at, nothing)
            if not _alike(want, got):
                wrong.add(at)
                time = _times(row.happened, at, frame)
                sentences.append(
                    f"frame {at} ({time}){where}: expected {letters.words(want)}, and {letters.words(got)} came"
                )
        if row.expected.end is not None and (due := frame_at(row.expected.end, frame)) != ended:
            wrong |= {due, ended}
            sentences.append(
                f"the end{where}: expected after {duration(due * frame)}, and all was done after {duration(trial.elapsed)}"
            )
    if not sentences:
        return ""
    return "\n".join(
        [
            f"pipeline {name}: what came out is not what the marbles say (a frame is {duration(frame)})",
            "",
            *(f"  {line}" for line in draw(lines, frame, sorted(wrong))),
            "",
            *(f"  {sentence}" for sentence in _shortened(sentences)),
            *letters.legend(),
            *_dead(trial),
            *_places(rows, trial),
        ]
    )


class _Letters:
    """Which value a letter stands for, and which letter a value is drawn with."""

    def __init__(self, values: Mapping[str, Any], expected: Sequence[str]) -> None:
        self.values = values
        # Of the letters that stand for equal values, one that is expected is the one to draw.
        self.order = [letter for letter in dict.fromkeys([*expected, *values]) if letter != BROKEN]
        self.others: list[Any] = []
        self.used: dict[str, Any] = {}

    def value(self, letter: str) -> Any:
        return self.values.get(letter, letter)

    def letter(self, value: Any) -> str:
        for letter in self.order:
            if same(self.value(letter), value):
                if letter in self.values:
                    self.used[letter] = value
                return letter
        if isinstance(value, str) and len(value) == 1 and value.isalnum() and value not in self.values:
            return value
        place = next((i for i, each in enumerate(self.others) if same(each, value)), len(self.others))
        if place == len(self.others):
            self.others.append(value)
        return f"?{place + 1}"

    def words(self, cell: _Cell) -> str:
        marks = [*map(self.letter, cell.values), *[BROKEN] * cell.dead]
        return " ".join(marks) if marks else "nothing"

    def legend(self) -> list[str]:
        named = {**self.used, **{f"?{i}": value for i, value in enumerate(self.others, 1)}}
        return ["", *(f"  {letter} = {shorten(value)}" for letter, value in named.items())] if named else []


def _expected(marbles: Marbles, letters: _Letters, frame: float) -> dict[int, _Cell]:
    cells: dict[int, _Cell] = {}
    for at, symbol in marbles.marks:
        cell = cells.setdefault(frame_at(at, frame), _Cell([], 0))
        if symbol == BROKEN:
            cells[frame_at(at, frame)] = cell._replace(dead=cell.dead + 1)
        else:
            cell.values.append(letters.value(symbol))
    return cells


def _actual(happened: Sequence[Happening], frame: float) -> dict[int, _Cell]:
    cells: dict[int, _Cell] = {}
    for each in happened:
        at = frame_at(each.at, frame)
        cell = cells.setdefault(at, _Cell([], 0))
        if each.dead:
            cells[at] = cell._replace(dead=cell.dead + 1)
        else:
            cell.values.append(each.value)
    return cells


def _alike(left: _Cell, right: _Cell) -> bool:
    if left.dead != right.dead or len(left.values) != len(right.values):
        return False
    return all(map(same, left.values, right.values))


def _line(label: str, marbles: Marbles, frame: float) -> Line:
    frames: dict[int, list[str]] = {}
    for at, symbol in marbles.marks:
        frames.setdefault(frame_at(at, frame), []).append(symbol)
    return Line(label, frames, None if marbles.end is None else frame_at(marbles.end, frame))


def _drawn(label: str, cells: Mapping[int, _Cell], letters: _Letters, end: int | None) -> Line:
    frames = {at: [*map(letters.letter, cell.values), *[BROKEN] * cell.dead] for at, cell in cells.items()}
    return Line(label, frames, end)


def _times(happened: Sequence[Happening], at: int, frame: float) -> str:
    """When that frame begins, or, where all of it came at one other time, that time."""
    times = {round(each.at, 4) for each in happened if frame_at(each.at, frame) == at}
    return duration(times.pop() if len(times) == 1 else at * frame)


def _shortened(sentences: Sequence[str]) -> list[str]:
    if len(sentences) <= _MOST_SENTENCES:
        return list(sentences)
    return [*sentences[:_MOST_SENTENCES], f"… and {len(sentences) - _MOST_SENTENCES} more"]


def _dead(trial: Trial) -> list[str]:
    """Why there are dead letters; the first of each kind."""
    told: dict[tuple[str, str, str], str] = {}
    for queue, letters in trial.dead_letters.items():
        for letter in letters:
            told.setdefault((queue, letter.error, letter.stage), shorten(letter.reason))
    lines = [f"  {BROKEN} in {queue}: {error} at {stage}, {reason}" for (queue, error, stage), reason in told.items()]
    return ["", *_shortened(lines)] if lines else []


def _places(rows: Sequence[Row], trial: Trial) -> list[str]:
    """A word on places that are expected and not there, which are often misspelt."""
    known = [*trial.outputs, *trial.dead_letters]
    strange = [row.place for row in rows if row.place and row.place not in known]
    return ["", f"  nothing is named {strange[0]!r}; there are {', '.join(map(repr, known))}"] if strange else []
