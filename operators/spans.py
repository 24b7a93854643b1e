"""The windows of a kind that are open."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from heapq import heappop, heappush, heapreplace
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from warren.core.receipt import Ledger, Token

if TYPE_CHECKING:
    from warren.operators.figures import Accumulator

__all__ = ["Aligned", "Counted", "OpenWindows", "Sessions", "Span"]


class Span:
    """One open window: of which key, from when to when, what is in it, and the tokens of that.

    ``number`` gives the order of first values. ``id`` names it where its values are kept; ``saved`` of them are. ``count``
    is how many it has, where these are counted.
    """

    __slots__ = ("count", "end", "id", "key", "number", "saved", "segments", "start", "values")

    def __init__(self, key: Any, start: float, end: float, number: int) -> None:
        self.key = key
        self.start = start
        self.end = end
        self.number = number
        self.values: list[Any] = []
        self.segments: list[Sequence[Token]] = []
        self.id = number
        self.saved = 0
        self.count = 0

    def put(self, values: list[Any], segment: Sequence[Token], states: list[Any] | None) -> None:
        """Add values with their tokens; ``states`` are the figures with them, where these are kept in place of values."""
        if states is None:
            self.values += values
        else:
            self.values = states
        self.segments.append(segment)


class OpenWindows(Protocol):
    """The windows of one running pipeline that are open."""

    touched: dict[int, Span] | None
    """Those that got values, by id, where somebody keeps them and empties this."""
    gone: set[int]
    """The ids of those that were joined with others, likewise."""

    @property
    def next_end(self) -> float:
        """When the first of them ends; infinite where none is open."""
        ...

    def restore(self, spans: Sequence[Span]) -> None:
        """Open windows that were open before."""
        ...

    def add(
        self, times: list[float], keys: Sequence[Hashable], values: list[Any], tokens: Sequence[Token], closed: float
    ) -> dict[int, float]:
        """Add values to their windows, opening these; give the ends of those that are closed, by position.

        ``closed`` is the time up to which windows are closed; a value is late when all its windows end by then.
        """
        ...

    def close(self, until: float) -> list[Span]:
        """Close the windows that end by ``until``, in order of their ends and then of their first values."""
        ...


class Aligned:
    """Windows at multiples of ``every``. Those with one end are kept together."""

    def __init__(self, size: float, every: float, ledger: Ledger, figures: Accumulator | None) -> None:
        self.size = size
        self.every = every
        self.ledger = ledger
        self.figures = figures
        self.open: dict[float, dict[Hashable, Span]] = {}
        self.touched: dict[int, Span] | None = None
        self.gone: set[int] = set()
        self.next_end = inf
        self.opened = 0

    def restore(self, spans: Sequence[Span]) -> None:
        for span in spans:
            self.open.setdefault(span.end, {})[span.key] = span
        self.next_end = min(self.open, default=inf)
        self.opened = max((max(span.number, span.id) for span in spans), default=0)

    def end(self, number: float) -> float:
        """When the window that starts at ``number`` times ``every`` ends."""
        return number * self.every + self.size

    def add(
        self, times: list[float], keys: Sequence[Hashable], values: list[Any], tokens: Sequence[Token], closed: float
    ) -> dict[int, float]:
        late: dict[int, float] = {}
        for first, last, groups in self.groups(times, keys):
            end = self.end(last)
            if end <= closed:
                late.update((i, end) for positions in groups for i in positions)
                continue
            while self.end(first) <= closed:
                first += 1
            if first < last:
                self.add_to_many([first + i for i in range(int(last - first) + 1)], groups, keys, values, tokens)
                continue
            windows, figures = self.open.get(end), self.figures
            for positions in groups:
                key = keys[positions[0]]
                span = None if windows is None else windows.get(key)
                states = None
                if figures is not None:
                    (states,), positions = figures.add(([] if span is None else span.values,), positions)
                    if not positions:
                        continue
                if span is None:
                    span = self.start(last, key)
                    windows = self.open[end]
                if len(positions) == len(values):
                    span.put(values, tokens, states)
                else:
                    mine = [values[i] for i in positions] if states is None else values
                    span.put(mine, [tokens[i] for i in positions], states)
                if self.touched is not None:
                    self.touched[span.id] = span
        return dict(sorted(late.items()))

    def add_to_many(
        self,
        numbers: list[float],
        groups: Iterable[list[int]],
        keys: Sequence[Hashable],
        values: list[Any],
        tokens: Sequence[Token],
    ) -> None:
        """Add values to several windows, which share their tokens."""
        for positions in groups:
            key = keys[positions[0]]
            spans = [self.open.get(self.end(number), {}).get(key) for number in numbers]
            states: Sequence[list[Any] | None] = [None] * len(spans)
            if self.figures is not None:
                states, positions = self.figures.add([[] if span is None else span.values for span in spans], positions)
                if not positions:
                    continue
            whole = len(positions) == len(values)
            mine = values if whole else [values[i] for i in positions]
            merged = self.ledger.merge([tokens if whole else [tokens[i] for i in positions]])
            parts = self.ledger.split(merged, len(spans))
            for number, span, part, state in zip(numbers, spans, parts, states, strict=True):
                span = span or self.start(number, key)
                span.put(mine, (part,), state)
                if self.touched is not None:
                    self.touched[span.id] = span

    def groups(self, times: list[float], keys: Sequence[Hashable]) -> Iterable[tuple[float, float, Iterable[list[int]]]]:
        """The first and the last of the windows that values are in, and the positions of these for each key."""
        low, high = self.place(min(times)), self.place(max(times))
        if low == high:
            positions: defaultdict[Hashable, list[int]] = defaultdict(list)
            for i, key in enumerate(keys):
                positions[key].append(i)
            return [(*low, positions.values())]
        lasts = [time // self.every for time in times]
        if self.size == self.every:
            apart: defaultdict[float, defaultdict[Hashable, list[int]]] = defaultdict(lambda: defaultdict(list))
            for i, (last, key) in enumerate(zip(lasts, keys, strict=True)):
                apart[last][key].append(i)
            return [(last, last, groups.values()) for last, groups in apart.items()]
        # What comes for other windows ends a group, so that values stay in order in those that two groups share.
        runs: list[tuple[float, float, list[list[int]]]] = []
        newest: dict[Hashable, tuple[float, float, list[list[int]]]] = {}
        for i, (time, last, key) in enumerate(zip(times, lasts, keys, strict=True)):
            first = (time - self.size) // self.every + 1
            run = newest.get(key)
            if run is None or run[:2] != (first, last):
                run = newest[key] = (first, last, [[]])
                runs.append(run)
            run[2][0].append(i)
        return runs

    def place(self, time: float) -> tuple[float, float]:
        """The first and the last of the windows that a time is in."""
        last = time // self.every
        return (last if self.size == self.every else (time - self.size) // self.every + 1), last

    def start(self, number: float, key: Hashable) -> Span:
        """Open a window."""
        end = self.end(number)
        if end not in self.open:
            self.open[end] = {}
            self.next_end = min(self.next_end, end)
        self.opened += 1
        span = self.open[end][key] = Span(key, number * self.every, end, self.opened)
        return span

    def close(self, until: float) -> list[Span]:
        ends = sorted(end for end in self.open if end <= until)
        spans = [span for end in ends for span in self.open.pop(end).values()]
        self.next_end = min(self.open, default=inf)
        return spans


class Sessions:
    """Windows that grow, and join where they meet. Each key has its own, in order of time.

    ``ends`` is a heap with one entry for each: when it ended at the time of the entry, as a window may only grow.
    """

    def __init__(self, gap: float, figures: Accumulator | None) -> None:
        self.gap = gap
        self.figures = figures
        self.open: dict[Hashable, list[Span]] = {}
        self.ends: list[tuple[float, int, Span]] = []
        self.touched: dict[int, Span] | None = None
        self.gone: set[int] = set()
        self.opened = 0

    def restore(self, spans: Sequence[Span]) -> None:
        for span in sorted(spans, key=lambda span: span.start):
            self.open.setdefault(span.key, []).append(span)
            heappush(self.ends, (span.end, span.id, span))
        self.opened = max((max(span.number, span.id) for span in spans), default=0)

    @property
    def next_end(self) -> float:
        ends = self.ends
        while ends:
            end, id, span = ends[0]
            if span.end == end:
                return end
            if span.end > end:
                heapreplace(ends, (span.end, id, span))
            else:
                # It was joined with another one.
                heappop(ends)
        return inf

    def add(
        self, times: list[float], keys: Sequence[Hashable], values: list[Any], tokens: Sequence[Token], closed: float
    ) -> dict[int, float]:
        groups: defaultdict[Hashable, list[int]] = defaultdict(list)
        for i, key in enumerate(keys):
            groups[key].append(i)
        late: dict[int, float] = {}
        for key, positions in groups.items():
            spans = list(self.open.pop(key, ()))
            runs = self.runs(times, positions)
            while runs:
                run = runs.pop(0)
                arrived = sorted(run)
                start, end = times[run[0]], times[run[-1]] + self.gap
                met = [span for span in spans if span.start < end and start < span.end]
                if not met and end <= closed:
                    late.update((i, end) for i in run)
                    continue
                states = None
                if self.figures is not None:
                    before = self.figures.join([span.values for span in met], arrived)
                    if before is None:
                        continue
                    (states,), kept = self.figures.add([before], arrived)
                    if len(kept) < len(run):
                        # As if the others had not come.
                        runs[:0] = self.runs(times, kept)
                        continue
                if len(met) == 1:
                    joined = met[0]
                    joined.start, joined.end = min(joined.start, start), max(joined.end, end)
                    spans.remove(joined)
                    met = []
                else:
                    self.opened += 1
                    joined = Span(key, start, end, self.opened)
                    heappush(self.ends, (end, joined.id, joined))
                for span in met:
                    spans.remove(span)
                    if self.touched is not None:
                        self.gone.add(span.id)
                    joined.start, joined.end = min(joined.start, span.start), max(joined.end, span.end)
                    joined.number = min(joined.number, span.number)
                    joined.values += span.values
                    joined.segments += span.segments
                    span.end = -inf
                joined.put([values[i] for i in arrived], [tokens[i] for i in arrived], states)
                if self.touched is not None:
                    self.touched[joined.id] = joined
                spans.append(joined)
            if spans:
                self.open[key] = sorted(spans, key=lambda span: span.start)
        return late

    def runs(self, times: list[float], positions: Iterable[int]) -> list[list[int]]:
        """Positions in order of time, cut where two are a gap apart."""
        runs: list[list[int]] = []
        previous = -inf
        for i in sorted(positions, key=times.__getitem__):
            if times[i] - previous < self.gap:
                runs[-1].append(i)
            else:
                runs.append([i])
            previous = times[i]
        return runs

    def close(self, until: float) -> list[Span]:
        closed: list[Span] = []
        while self.next_end <= until and self.ends:
            span = heappop(self.ends)[2]
            closed.append(span)
            if len(self.open[span.key]) == 1:
                del self.open[span.key]
            else:
                self.open[span.key].remove(span)
        return sorted(closed, key=lambda span: (span.end, span.number))


class Counted:
    """Windows of ``size`` values, one starting with every so many. Each key has its own, the oldest first."""

    def __init__(self, size: int, every: int, ledger: Ledger, figures: Accumulator | None) -> None:
        self.size = size
        self.every = every
        self.ledger = ledger
        self.figures = figures
        self.open: dict[Hashable, list[Span]] = {}
        self.full: list[Span] = []
        self.touched: dict[int, Span] | None = None
        self.gone: set[int] = set()
        self.opened = 0

    @property
    def next_end(self) -> float:
        return min((span.end for span in self.full), default=inf)

    def restore(self, spans: Sequence[Span]) -> None:
        for span in sorted(spans, key=lambda span: span.number):
            if self.figures is None:
                span.count = len(span.values)
            (self.full if span.count >= self.size else self.open.setdefault(span.key, [])).append(span)
        self.opened = max((max(span.number, span.id) for span in spans), default=0)

    def add(
        self, times: list[float], keys: Sequence[Hashable], values: list[Any], tokens: Sequence[Token], closed: float
    ) -> dict[int, float]:
        groups: defaultdict[Hashable, list[int]] = defaultdict(list)
        for i, key in enumerate(keys):
            groups[key].append(i)
        for key, places in groups.items():
            spans = self.open.setdefault(key, [])
            while places:
                if not spans or spans[-1].count >= self.every:
                    self.opened += 1
                    spans.append(Span(key, times[places[0]], times[places[0]], self.opened))
                # As many as all of the open windows take before one is full or another one starts.
                room = min(self.size - spans[0].count, self.every - spans[-1].count)
                mine, places = places[:room], places[room:]
                states: list[list[Any]] | None = None
                if self.figures is not None:
                    states, kept = self.figures.add([span.values for span in spans], mine)
                    if len(kept) < len(mine):
                        # As if the others had not come.
                        places = kept + places
                        if not spans[-1].count:
                            spans.pop()
                        continue
                segment = [tokens[i] for i in mine]
                parts: list[Sequence[Token]] = [segment]
                if len(spans) > 1:
                    parts = [(part,) for part in self.ledger.split(self.ledger.merge(parts), len(spans))]
                for i, (span, part) in enumerate(zip(spans, parts, strict=True)):
                    span.put([values[i] for i in mine], part, None if states is None else states[i])
                    span.count += len(mine)
                    span.end = max(span.end, times[mine[-1]])
                    if self.touched is not None:
                        self.touched[span.id] = span
                if spans[0].count == self.size:
                    self.full.append(spans.pop(0))
            if not spans:
                del self.open[key]
        return {}

    def close(self, until: float) -> list[Span]:
        spans, self.full = self.full, []
        if until == inf:
            spans += [span for spans in self.open.values() for span in spans]
            self.open.clear()
        return sorted(spans, key=lambda span: (span.end, span.number))
