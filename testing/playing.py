"""Playing marbles to a pipeline, and comparing what comes out with marbles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from warren.core.clock import Duration
from warren.core.codecs import decoder
from warren.core.errors import GraphError, shorten
from warren.core.graph import Inlet
from warren.pipelines.given import Arrival, Script
from warren.pipelines.pipeline import Pipeline
from warren.pipelines.trial import Ends, Trial, try_out
from warren.testing.compare import Row, compare
from warren.testing.diff import same
from warren.testing.drawing import Line, draw, frame_at
from warren.testing.faults import audited
from warren.testing.marbles import BROKEN, Marbles, frame_length
from warren.testing.timeline import Happening, Timeline

__all__ = ["Played", "check", "play"]

_UNREADABLE = b"\xff unreadable"


class Played:
    """What came of marbles: ``trial`` as of `Pipeline.test`, and ``happened``, all that reached sinks, with times.

    It equals marbles, or a mapping of marbles by sink; `differences` says what does not fit, and its text is the marbles.

    >>> from warren.connectors import memory
    >>> from warren.operators import debounce
    >>> played = play(Pipeline("calm", memory.items([]) | debounce("2s") | memory.into([])), "ab---c----|")
    >>> played == "---b---c--|", str(played)
    (True, '---b---c--|')
    """

    def __init__(
        self,
        name: str,
        given: Mapping[str, Marbles],
        trial: Trial,
        happened: Sequence[Happening],
        values: Mapping[str, Any],
        frame: float,
        faults: str = "",
    ) -> None:
        self.name = name
        self.given = given
        self.trial = trial
        self.happened = happened
        self.values = values
        self.frame = frame
        self.faults = faults

    def differences(self, expected: str | Mapping[str, str]) -> str:
        """What does not fit these marbles, as lines of text below each other; empty where all of it does."""
        by_place = {"": expected} if isinstance(expected, str) else expected
        rows = [
            Row(
                place,
                Marbles(marbles, self.frame),
                [each for each in self.happened if not place or each.place == place],
            )
            for place, marbles in by_place.items()
        ]
        if "" not in by_place:
            # What reaches a place that is not named must not go unseen.
            others = dict.fromkeys(each.place for each in self.happened if each.place not in by_place)
            rows += [Row(place, Marbles("", self.frame), self._at(place)) for place in others]
        return compare(f"{self.name!r}{self.faults}", self.given, rows, self.trial, self.values, self.frame)

    def _at(self, place: str) -> list[Happening]:
        return [each for each in self.happened if each.place == place]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, str | Mapping):
            return NotImplemented
        return not self.differences(other)

    __hash__ = None  # type: ignore[assignment]  # it equals texts that differ

    def __str__(self) -> str:
        """What happened, as marbles; a value that no letter stands for is drawn as ``?``."""
        frames: dict[int, list[str]] = {}
        for each in self.happened:
            frames.setdefault(frame_at(each.at, self.frame), []).append(BROKEN if each.dead else self._symbol(each.value))
        (line,) = draw([Line("", frames, frame_at(self.trial.elapsed, self.frame))], self.frame)
        return line.strip()

    def _symbol(self, value: object) -> str:
        letters = (letter for letter, each in self.values.items() if same(each, value))
        return next(letters, value if isinstance(value, str) and len(value) == 1 and value.isalnum() else "?")

    def __repr__(self) -> str:
        """Its marbles."""
        return f"Played({str(self)!r})"


def play(
    pipeline: Pipeline,
    given: str | Mapping[str, str],
    *,
    values: Mapping[str, Any] | None = None,
    frame: Duration = "1s",
    start: float = 0.0,
    faults: Ends | None = None,
) -> Played:
    """Have messages come to a pipeline as marbles say, in virtual time, and see what came out and when.

    - ``given``: what comes to the source, to each source where there are several, or marbles by the names of the sources;
      the source ends at ``|``, or with the drawing
    - ``values``: what the letters stand for; a letter that is not in it stands for itself, and ``#`` for bytes that the
      source cannot decode
    - ``frame``: how long a frame takes
    - ``start``, ``faults``: as for `Pipeline.test`

    Raises `GraphError` for marbles that are none, a source that is not there, and ``#`` where the source decodes nothing;
    `AssertionError` where a message was not settled exactly once.

    >>> from warren.connectors import memory
    >>> from warren.operators import batch
    >>> pairs = Pipeline("pairs", memory.items([]) | batch(2, "3s") | memory.into([]))
    >>> [(each.at, each.value) for each in play(pairs, "a-b-c------|").happened]
    [(2.0, ['a', 'b']), (7.0, ['c'])]
    """
    letters = dict(values or {})
    inlets = {inlet.name: inlet for inlet in pipeline.flow.source.inlets()}
    texts = dict.fromkeys(inlets, given) if isinstance(given, str) else given
    if unknown := [name for name in texts if name not in inlets]:
        raise GraphError(
            f"pipeline {pipeline.name!r} has no source {unknown[0]!r} to give marbles to; it has {_list(inlets)}"
        )
    marbles = {name: Marbles(text, frame) for name, text in texts.items()}
    scripts = {name: _script(pipeline, inlets[name], each, letters) for name, each in marbles.items()}
    timeline = Timeline()
    trial = try_out(pipeline, lambda name: scripts.get(name, Script(())), start, (timeline, audited(faults)))
    shown = {"": Marbles(given, frame)} if isinstance(given, str) else marbles
    told = "" if faults is None else f" with {faults!r}"
    return Played(pipeline.name, shown, trial, timeline.happened, letters, frame_length(frame), told)


def _script(pipeline: Pipeline, inlet: Inlet[Any], marbles: Marbles, values: Mapping[str, Any]) -> Script:
    symbols = {mark.symbol for mark in marbles.marks}
    if BROKEN in symbols and BROKEN not in values:
        values = {**values, BROKEN: _unreadable(pipeline, inlet)}
    arrivals = [Arrival(values.get(symbol, symbol), at) for at, symbol in marbles.marks]
    return Script(arrivals, marbles.length if marbles.end is None else marbles.end)


def _unreadable(pipeline: Pipeline, inlet: Inlet[Any]) -> bytes:
    try:
        decoder(inlet.type)(_UNREADABLE)
    except Exception:
        return _UNREADABLE
    raise GraphError(
        f"pipeline {pipeline.name!r}: # cannot come from {inlet.name}, which takes every message as it is; give the "
        f"source a type, or say what # stands for: values={{'#': ...}}"
    )


def _list(names: Mapping[str, Any]) -> str:
    return ", ".join(shorten(name) for name in names)


def check(
    pipeline: Pipeline,
    given: str | Mapping[str, str],
    expected: str | Mapping[str, str],
    *,
    values: Mapping[str, Any] | None = None,
    frame: Duration = "1s",
    start: float = 0.0,
    faults: Ends | None = None,
) -> Trial:
    """Have messages come to a pipeline as marbles say, and see that what comes out is as marbles say.

    ``expected`` shows what reaches sinks, with ``#`` for every dead letter, and where it has a ``|``, when the pipeline has
    done all its work. As a mapping it shows each sink or queue of dead letters on its own, by its name. Of what comes in
    one frame, the order counts. `play` tells of the other parameters and of the errors.

    Returns the trial, for a look at the dead letters. Raises `AssertionError` where anything differs: its text shows what
    was given, expected, and came, below each other.

    >>> from warren.connectors import memory
    >>> from warren.operators import map
    >>> halves = Pipeline("halves", memory.queue("numbers", int) | map(lambda x: x // 2) | memory.into([]))
    >>> trial = check(halves, "ab-#|", "cd-#|", values={"a": 2, "b": 4, "c": 1, "d": 2})
    >>> [letter.error for letter in trial.dead_letters["halves.dead"]]
    ['DecodeError']
    """
    __tracebackhide__ = True
    played = play(pipeline, given, values=values, frame=frame, start=start, faults=faults)
    if text := played.differences(expected):
        raise AssertionError(text)
    return played.trial
