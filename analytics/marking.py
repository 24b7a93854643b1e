"""`anomalies`: marks what is unusual, so that a route can part it from the rest."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from copy import deepcopy
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from warren.analytics.alarms import Alarms
from warren.analytics.detectors import Detector
from warren.analytics.moments import At
from warren.core.chunk import Chunk
from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError, HandlerError, shorten
from warren.core.expiry import Expiring
from warren.core.graph import Operator, name_of
from warren.core.receipt import Token
from warren.core.stage import Handler, Stage
from warren.operators.keys import answers, check_function

__all__ = ["Marked", "anomalies"]

T = TypeVar("T")

State: TypeAlias = tuple[Detector, Alarms, tuple[str, ...]]
"""Of a key; with the ids of the messages that were alarms, and may come again."""

_ALARMS = 64
"""From so many ids on it is looked which of them are needed no more."""


class Marked(msgspec.Struct, Generic[T], frozen=True):
    """A value with its anomaly score, and whether it is an alarm."""

    value: T
    score: float
    alarm: bool


def anomalies(
    detector: Detector,
    *,
    value: Callable[[T], Any] | None = None,
    at: Callable[[T], At] | None = None,
    by: Callable[[T], Hashable] | None = None,
    alarms: Alarms | None = None,
    learn: bool = True,
    ttl: Duration | None = None,
) -> Operator[T, Marked[T]]:
    """Score each message beside those before it, and give it on as a `Marked`, for a `route` to part.

    ``value`` gives what the detector looks at, such as a latency; the message itself unless given. ``at`` gives when it was
    true; the pipeline's clock unless given. With ``by`` each key has a detector and alarms of its own, which begin as copies
    of those given; a detector that has learned before, or was loaded, goes on from there. With ``learn=False`` it stays as
    it is. One incident makes one alarm (`Alarms`); its other messages have their scores and ``alarm=False``.

    Keeps the delivery guarantee: one result for each message, acknowledged with it. A message that the detector refuses
    fails with `ValidationError` and teaches nothing. Without ``Pipeline(state=...)`` what is learned is forgotten when the
    pipeline is started again, and a message that is delivered again is learned again. With it learning goes on where it was;
    a message that was learned before is scored once more, and is an alarm if it was one, so that no alarm is lost. A
    checkpoint writes the detector of each key that has changed as a whole: 45 kB for a full `Novelty`. There is one detector
    for each key that ever came; with ``ttl`` that of a key without messages for that long by the pipeline's clock is
    forgotten.

    Raises `GraphError` where ``detector`` is none, a function is ``async`` or none, or ``ttl`` is not above zero.

    >>> from warren import Pipeline
    >>> from warren.analytics import Novelty
    >>> from warren.connectors import memory
    >>> from warren.operators import map, route
    >>> unusual, usual = memory.queue("unusual"), memory.queue("usual")
    >>> parted = route(lambda marked: marked.alarm, {True: map(lambda m: m.value) | unusual}, default=usual)
    >>> watch = Pipeline("watch", memory.items([]) | anomalies(Novelty()) | parted)
    >>> watch.test([20 + i % 7 for i in range(300)] + [95, 96]).outputs["memory:unusual"]
    [95]
    """
    if not isinstance(detector, Detector):
        raise GraphError(f"anomalies({shorten(detector)}): give a detector, such as anomalies(Novelty())")
    title = f"anomalies({type(detector).__name__}"
    for option, function in (("value", value), ("at", at), ("by", by)):
        if function is not None:
            check_function(function, f"{title}, {option}=...)")
    if ttl is not None and seconds(ttl) == 0:
        raise GraphError(f"{title}, ttl={ttl!r}): ttl must be longer than 0")
    alarms = Alarms(detector.threshold) if alarms is None else alarms
    return _Anomalies(detector, value, at, by, alarms, learn, None if ttl is None else seconds(ttl))


class _Anomalies(Operator[Any, Any]):
    def __init__(
        self,
        detector: Detector,
        value: Callable[[Any], Any] | None,
        at: Callable[[Any], At] | None,
        by: Callable[[Any], Hashable] | None,
        alarms: Alarms,
        learn: bool,
        ttl: float | None,
    ) -> None:
        self.detector = detector
        self.value = value
        self.at = at
        self.by = by
        self.alarms = alarms
        self.learn = learn
        self.ttl = ttl

    @property
    def name(self) -> str:
        by = "" if self.by is None else f" by {name_of(self.by)}"
        return f"anomalies({type(self.detector).__name__}{by})"

    @property
    def guarantee(self) -> str:
        return "what is learned goes on after a restart where the pipeline keeps state"

    def attach(self, stage: Stage) -> Handler:
        table = stage.table("anomalies", version=self.detector.version)
        expiring = Expiring(stage, table, self.ttl) if self.ttl is not None else None
        states: Any = expiring if expiring is not None else {} if table is None else table
        read = self.reader(stage)

        def ids(tokens: Sequence[Token]) -> Sequence[str]:
            return () if table is None or not tokens else table.ids(tokens)

        def watch(chunk: Chunk, learn: bool) -> Chunk:
            rows, rest, failures = answers(stage, read, chunk)
            groups: dict[Hashable, list[int]] = {}
            for i, (key, _, _) in enumerate(rows):
                groups.setdefault(key, []).append(i)
            if expiring is not None:
                expiring.look(groups)
            marked: list[Any] = [None] * len(rows)
            changes: dict[Hashable, State] = {}
            for key, places in groups.items():
                detector, alarms, told = states.get(key, None) or (*deepcopy((self.detector, self.alarms)), ())
                follow = detector.watch_many if learn and self.learn else detector.score_many
                scores = follow([rows[i][1] for i in places], [rows[i][2] for i in places]).tolist()
                if learn:
                    found = list(map(alarms.step, scores))
                else:
                    found = [id in told for id in ids([rest.tokens[i] for i in places])]
                for i, score, alarm in zip(places, scores, found, strict=True):
                    marked[i] = Marked(rest.values[i], score, alarm)
                if learn:
                    fresh = ids([rest.tokens[i] for i, alarm in zip(places, found, strict=True) if alarm])
                    if table is not None and fresh and len(told) >= _ALARMS:
                        told = tuple(filter(table.knows, told))
                    changes[key] = detector, alarms, (*told, *filter(None, fresh))
            states.update(changes)
            return Chunk(marked, rest.tokens, failures, chunk.attempt)

        def handle(chunk: Chunk) -> Chunk:
            assert table is not None
            old, fresh = table.parted(chunk)
            out = watch(fresh, True)
            table.count(out.tokens)
            if old is None:
                return out
            # What they taught is known already, so they are no news again; but an alarm may not have got through.
            again = watch(old, False)
            failures = [*again.failures, *out.failures]
            return Chunk([*again.values, *out.values], [*again.tokens, *out.tokens], failures, chunk.attempt)

        return (lambda chunk: watch(chunk, True)) if table is None else handle

    def reader(self, stage: Stage) -> Callable[[Any], tuple[Hashable, Any, At]]:
        """What gives a message's key, what is measured of it, and when."""
        value, at, by, check, clock = self.value, self.at, self.by, self.detector.check, stage.run.clock

        def read(message: Any) -> tuple[Hashable, Any, At]:
            key = None if by is None else by(message)
            try:
                hash(key)
            except TypeError as error:
                raise HandlerError(
                    f"{stage}: by= answered {shorten(key)} for {shorten(message)}, which cannot be a key; "
                    "answer with a text, a number or a tuple of these"
                ) from error
            measured = message if value is None else value(message)
            time = clock() if at is None else at(message)
            check(measured, time)
            return key, measured, time

        return read
