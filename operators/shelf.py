"""Open windows that outlive a run: their values are kept with the state, and their messages need not be held."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from math import inf
from typing import Any

from warren.core.chunk import Chunk
from warren.core.receipt import Kind, Outcome, Token
from warren.core.stage import Stage
from warren.core.state import Table
from warren.operators.spans import OpenWindows, Span

__all__ = ["KEPT", "Shelf", "uncounted"]

KEPT = Outcome(Kind.DELIVERED, "state")
_WATERMARK = "watermark"


class Shelf:
    """Keeps the windows of one step: under the id of each what it is of, in part 0, and its values in the parts behind.

    With ``sums`` a window has figures in place of values; these are in part 0 too.
    """

    def __init__(self, stage: Stage, table: Table, open: OpenWindows, *, sums: bool) -> None:
        self.stage = stage
        self.table = table
        self.open = open
        self.sums = sums
        self.touched = open.touched = {}
        self.outbox = stage.outbox(table)
        self.watermark = -inf
        self._written = -inf
        self._part = 0
        table.before = self.write

    def restore(self) -> None:
        """Open the windows that were open."""
        self._written = self.watermark = self.table.pop(_WATERMARK, -inf)
        parts: dict[Any, list[tuple[int, Any]]] = {}
        for (id, part), values in self.table.parts.items():
            self._part = max(self._part, part)
            parts.setdefault(id, []).append((part, values))
        spans = []
        for id, head in self.table.items():
            span = Span(*head[:4])
            span.id = id  # type: ignore[assignment]  # it was written here
            if self.sums:
                span.count, span.values = head[4:]
            else:
                span.values = list(
                    chain.from_iterable(values for _, values in sorted(parts.get(id, ()), key=lambda each: each[0]))
                )
                span.saved = len(span.values)
            spans.append(span)
        if self.table.renew is not None:
            self.renew(spans, self.table.renew)
        self.open.restore(spans)
        self.table.parts.clear()
        self.table.clear()

    def renew(self, spans: Sequence[Span], migrate: Callable[[Any, Any], Any]) -> None:
        """Make all values anew, and have them written under other ids, in place of the old ones."""
        self.table.remove(list(self.table))
        newest = max((max(span.number, span.id) for span in spans), default=0)
        for span in spans:
            newest += 1
            span.id, span.saved = newest, 0
            span.values = [migrate(span.key, value) for value in span.values]
            self.touched[span.id] = span

    def fresh(self, chunk: Chunk, heard: Callable[[Chunk], None] | None = None) -> Chunk:
        """The values that are in no window yet; the messages of the others are done, once ``heard`` was told of them."""
        return uncounted(self.stage, self.table, chunk, heard)

    def take(self, tokens: Sequence[Token]) -> None:
        """Values are in their windows, so their messages are done."""
        if tokens:
            self.table.count(tokens)
            self.stage.settle(tokens, KEPT)

    def write(self) -> None:
        """Note for the checkpoint what has changed."""
        table, open = self.table, self.open
        if self.watermark > self._written:
            self._written = self.watermark
            table.put(_WATERMARK, 0, self.watermark)
        table.remove(open.gone)
        # What one checkpoint adds comes behind what those before it have.
        self._part += 1
        for id, span in self.touched.items():
            if id not in table.removed:
                head = (span.key, span.start, span.end, span.number)
                if self.sums:
                    table.put(id, 0, (*head, span.count, span.values))
                else:
                    table.put(id, 0, head)
                    table.put(id, self._part, span.values[span.saved :])
                    span.saved = len(span.values)
                span.segments.clear()
        self.touched.clear()
        open.gone.clear()

    def give(self, spans: Sequence[Span], windows: Sequence[Any]) -> Chunk:
        """Windows that have closed; they are kept until what is made of them is safe."""
        # Windows by count may start at the same moment.
        ids = [f"{self.table.step}/{span.key}/{span.start:.6f}" + (f"/{span.id}" if span.count else "") for span in spans]
        return self.outbox.chunk([span.id for span in spans], windows, ids)


def uncounted(stage: Stage, table: Table, chunk: Chunk, heard: Callable[[Chunk], None] | None = None) -> Chunk:
    """The messages of a chunk that a table has not counted; the others are done, once ``heard`` was told of them."""
    counted, fresh = table.parted(chunk)
    if counted is not None:
        if heard is not None:
            heard(counted)
        stage.settle(counted.tokens, KEPT)
    return fresh
