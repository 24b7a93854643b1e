"""A pipeline as a picture: a small SVG that stands in a notebook, on a light page and on a dark one."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from warren.core.graph import Ended, Inlet, Operator, Sink, Source, Step, Stream

if TYPE_CHECKING:
    from warren.pipelines.pipeline import Pipeline

__all__ = ["linear", "remark", "svg"]

_NAME, _NOTE = 7.3, 6.0  # how wide a character is at most
_LINE = 15
_ACROSS, _DOWN = 20, 36
_LONGEST = 44


class _Block(NamedTuple):
    """A part of the picture with its corner at 0, 0: where it is entered above and left below, and labels for these."""

    drawn: str
    width: float
    height: float
    entries: tuple[float, ...]
    ends: tuple[float, ...]
    labels: tuple[str, ...] = ()


def linear(step: Step) -> tuple[Step, ...]:
    """The steps that follow each other in this one."""
    if isinstance(step, Operator):
        return step.steps
    if isinstance(step, Stream | Ended) or not isinstance(step, Source | Sink):
        return tuple(inner for _, inner in step.branches())
    return (step,)


def remark(step: Step, credit: int) -> str:
    """What is said of a step: the type that a source gives, how it reads with that credit, and its guarantee."""
    if not isinstance(step, Inlet):
        return step.guarantee
    shown = f"{getattr(step.type, '__name__', step.type)}" if step.type is not None else ""
    return ", ".join(filter(None, (shown, step.note(credit), step.guarantee)))


def svg(pipeline: Pipeline, told: str) -> str:
    """The graph from its sources down to its sinks and dead letters, with ``told`` under its name.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> drawn = svg(Pipeline("a<b", memory.queue("words") | memory.queue("loud")), "at least once")
    >>> "a&lt;b" in drawn, "a<b" in drawn
    (True, False)
    """
    graph = _chain(pipeline.flow, pipeline.most)
    dead = _box(f"dead letters {pipeline.dead_letters}", "", rounded=True, dashed=True)
    lines = [pipeline.name, *textwrap.wrap(_clean(told), 90)]
    top = 14 + _LINE * (len(lines) + 1)
    inner = max(graph.width, dead.width, *(_wide(line, _NAME if line is lines[0] else _NOTE) for line in lines))
    width, height = inner + 2 * _ACROSS, top + graph.height + _ACROSS
    middle, below = width / 2, height + _DOWN
    drawn = (
        f'<rect x="0.5" y="0.5" width="{width - 1:g}" height="{height - 1:g}" rx="8" fill="none" {_stroke(0.25)}/>'
        f"{_text(_ACROSS, 24, lines[0], _TITLE)}"
        f"{''.join(_text(_ACROSS, 24 + _LINE * i, line, _FAINT) for i, line in enumerate(lines[1:], 1))}"
        f"{_at(graph.drawn, (width - graph.width) / 2, top)}"
        f"{_arrow(middle, height, middle, below, dashed=True)}{_text(middle + 6, height + 21, 'failures left over', _FAINT)}"
        f"{_at(dead.drawn, middle - dead.width / 2, below)}"
    )
    total = below + dead.height + 1
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="warren-graph" role="img" width="{width:g}" height="{total:g}" '
        f'color="#1f2328" fill="currentColor" font-family="system-ui, sans-serif" font-size="11">'
        f'{_DARK}<rect class="warren-paper" x="0" y="0" width="{width:g}" height="{total:g}" fill="#fff"/>{drawn}</svg>'
    )


def _chain(step: Step, credit: int, *, ends: bool = True) -> _Block:
    """Steps below each other; ``ends`` says that a queue at the end is written to."""
    parts = [part for part in linear(step) if part.name]
    nothing = _Block("", 2 * _ACROSS, 0, (_ACROSS,), (_ACROSS,))
    block: _Block | None = None
    for part in parts:
        last = part is parts[-1]
        # A queue can be a source and a sink; what it is here, its place says; its note is of reading.
        sink = ends and last and isinstance(part, Sink)
        said = "" if sink and isinstance(part, Inlet) else remark(part, credit)
        drawn = _box(part.name, said, rounded=isinstance(part, Source | Sink))
        inside = list(part.branches()) if isinstance(part, Operator | Source) else []
        row = [(label, _chain(branch, credit, ends=isinstance(part, Operator))) for label, branch in inside]
        if row and isinstance(part, Source):
            drawn = _below(_row(row), drawn)
        elif row:
            if not last and all(isinstance(branch, Sink) for _, branch in inside):
                row.insert(0, ("", nothing))  # what goes on does so beside branches that have all ended
            drawn = _below(drawn, _row(row))
        if sink:
            drawn = drawn._replace(ends=())
        block = drawn if block is None else _below(block, drawn)
    return block or nothing


def _row(blocks: Sequence[tuple[str, _Block]]) -> _Block:
    """Blocks beside each other, whose open ends all lie at the bottom."""
    height = max(block.height for _, block in blocks)
    drawn, left = "", 0.0
    entries: list[float] = []
    ends: list[float] = []
    for label, block in blocks:
        block = _roomy(block, 2 * _wide(label, _NOTE) + 12)
        short = [left + end for end in block.ends if block.height < height]
        drawn += _at(block.drawn, left, 0) + "".join(_curve(x, block.height, x, height) for x in short)
        entries += [left + x for x in block.entries]
        ends += [left + x for x in block.ends]
        left += block.width + _ACROSS
    return _Block(drawn, left - _ACROSS, height, tuple(entries), tuple(ends), tuple(label for label, _ in blocks))


def _roomy(block: _Block, least: float) -> _Block:
    """The block in the middle of so much room at least, as labels stand on either side of its lines."""
    more = max(0.0, least - block.width) / 2
    entries, ends = (tuple(x + more for x in places) for places in (block.entries, block.ends))
    return block._replace(drawn=_at(block.drawn, more, 0), width=block.width + 2 * more, entries=entries, ends=ends)


def _below(upper: _Block, lower: _Block) -> _Block:
    """One block under another, with arrows from one end to many entries, or from many ends to one."""
    shift = _middle(upper.ends, upper.width) - _middle(lower.entries, lower.width)
    up, low = max(0.0, -shift), max(0.0, shift)
    top = upper.height + _DOWN
    drawn = _at(upper.drawn, up, 0) + _at(lower.drawn, low, top)
    edges = [(up + end, low + entry) for end in upper.ends for entry in lower.entries]
    for i, (end, entry) in enumerate(edges):
        below, above = (labels[i] if i < len(labels) else None for labels in (lower.labels, upper.labels))
        # A branch without a label has no step that an arrow could lead to.
        drawn += (_curve if below == "" else _arrow)(end, upper.height, entry, top)
        drawn += _label(entry, top - 6, below or "", left=entry < end) + _label(
            end, upper.height + 13, above or "", left=end < entry
        )
    width = max(up + upper.width, low + lower.width)
    return _Block(drawn, width, top + lower.height, tuple(up + x for x in upper.entries), tuple(low + x for x in lower.ends))


def _middle(places: Sequence[float], width: float) -> float:
    return (places[0] + places[-1]) / 2 if places else width / 2


def _box(name: str, said: str, *, rounded: bool, dashed: bool = False) -> _Block:
    """A step: its name, and under it what is said of it."""
    name = _clean(name)
    shown = name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
    lines = textwrap.wrap(_clean(said), _LONGEST)
    width = max(_wide(shown, _NAME), *(_wide(line, _NOTE) for line in lines), 60) + 20
    height = 12 + _LINE * (1 + len(lines))
    corner, shade = (12 if rounded else 3), (0.12 if rounded and not dashed else 0.04)
    drawn = (
        f'<rect width="{width:g}" height="{height}" rx="{corner}" fill-opacity="{shade}" {_stroke(0.6, dashed)}/>'
        f"{_text(width / 2, 18, shown, _CODE)}"
        f"{''.join(_text(width / 2, 18 + _LINE * i, line, _CENTRED) for i, line in enumerate(lines, 1))}"
    )
    return _Block(f"<g><title>{escape(name)}</title>{drawn}</g>", width, height, (width / 2,), (width / 2,))


# A page's theme does not reach into a picture, so it has a paper of its own.
_DARK = "<style>@media (prefers-color-scheme: dark) {.warren-graph {color: #d1d7e0} .warren-paper {fill: #0d1117}}</style>"
_FAINT = 'fill-opacity="0.75"'
_CENTRED = f'text-anchor="middle" {_FAINT}'
_CODE = 'text-anchor="middle" font-family="ui-monospace, monospace" font-size="12"'
_TITLE = 'font-size="14" font-weight="bold"'


def _stroke(opacity: float, dashed: bool = False) -> str:
    return f'stroke="currentColor" stroke-opacity="{opacity:g}"' + (' stroke-dasharray="4 3"' if dashed else "")


def _at(drawn: str, x: float, y: float) -> str:
    return f'<g transform="translate({x:g} {y:g})">{drawn}</g>'


def _text(x: float, y: float, text: str, look: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" {look}>{escape(_clean(text))}</text>'


def _label(x: float, y: float, text: str, *, left: bool) -> str:
    """A label on that side of a line that the line does not bend to."""
    if not text:
        return ""
    return _text(x - 6, y, text, f'text-anchor="end" {_FAINT}') if left else _text(x + 6, y, text, _FAINT)


def _curve(x: float, y: float, to_x: float, to_y: float, *, dashed: bool = False) -> str:
    half = (y + to_y) / 2
    path = f"M{x:g} {y:g}C{x:g} {half:g} {to_x:g} {half:g} {to_x:g} {to_y:g}"
    return f'<path d="{path}" fill="none" {_stroke(0.6, dashed)}/>'


def _arrow(x: float, y: float, to_x: float, to_y: float, *, dashed: bool = False) -> str:
    head = f'<path d="M{to_x - 4:g} {to_y - 7:g}h8l-4 7z" fill-opacity="0.6"/>'
    return _curve(x, y, to_x, to_y - 6, dashed=dashed) + head


def _clean(text: str) -> str:
    """Without characters that show nothing, turn the writing round or are none in XML."""
    return "".join(c if c.isprintable() else "·" for c in text)


def _wide(text: str, each: float) -> float:
    return sum(2 * each if unicodedata.east_asian_width(c) in "WF" else each for c in _clean(text))
