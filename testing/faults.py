"""What goes wrong in a trial, as a value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from warren.core.clock import Duration, seconds
from warren.core.errors import ConnectorError, GraphError
from warren.core.graph import SinkConnection, SourceConnection
from warren.pipelines.given import Arrival
from warren.pipelines.trial import Ends
from warren.testing.audit import Audit
from warren.testing.ends import Delayed, Dropped, Duplicated, Failed, Refused, Reordered
from warren.testing.which import which

__all__ = ["Faults", "audited"]

_Which = int | Iterable[int] | None
_TEXT = "this write fails because the test says so"


class Faults(Ends):
    """Faults of the ends of a pipeline, for ``pipeline.test(values, faults=...)``, `check`, `play`, `replay` and `virtual`.

    It is immutable: each method gives one with a fault more, which stands around those before it. Which messages a fault
    befalls is said by ``nth`` (one or several, from 1), ``every`` nth, or a ``share`` of them by lot; the same ``seed``
    draws the same lots. Each trial starts anew.

    At the end of the trial, also of one that ends with an error, every message must have been settled exactly once, each
    time that it was handed over; `AssertionError` says which was not. So ``faults=Faults()`` is a check of its own.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> faults = Faults(seed=7).duplicate(every=2).drop_connection(nth=3)
    >>> faults
    Faults(seed=7).duplicate(every=2).drop_connection(nth=3)
    >>> Pipeline("copy", memory.items([]) | memory.into([])).test("ab", at=[0, 1], faults=faults).values
    ['a', 'b', 'b', 'b', 'b']
    """

    def __init__(self, seed: object = 0) -> None:
        self.seed = seed
        self._acts: tuple[Ends, ...] = ()
        self._text = f"Faults(seed={seed!r})"

    def __repr__(self) -> str:
        """How it was written."""
        return self._text

    def _with(self, act: Callable[[str], Ends], text: str) -> Faults:
        more = Faults(self.seed)
        more._acts = (*self._acts, act(f"{self.seed}:{len(self._acts)}"))
        more._text = f"{self._text}.{text}"
        return more

    def delay(self, by: Duration, *, nth: _Which = None, every: int | None = None, share: float | None = None) -> Faults:
        """Some messages come to each source later by that time, so that others may come before them."""
        chosen, length = which("delay", nth, every, share), seconds(by)
        return self._with(lambda seed: Delayed(seed, length, chosen), f"delay({by!r}, {chosen})")

    def duplicate(
        self, *, nth: _Which = None, every: int | None = None, share: float | None = None, after: Duration = 0.0
    ) -> Faults:
        """Some messages come to each source twice under the same id, the second time ``after`` that time."""
        chosen, length = which("duplicate", nth, every, share), seconds(after)
        text = f"duplicate({chosen}{f', after={after!r}' if length else ''})"
        return self._with(lambda seed: Duplicated(seed, length, chosen), text)

    def reorder(self, within: int = 4) -> Faults:
        """Messages of each source change places by lot, each by less than ``within``; the times at which one comes stay."""
        if not isinstance(within, int) or isinstance(within, bool) or within < 2:
            raise GraphError(f"reorder(within={within!r}): a message changes places within a whole number from 2")
        return self._with(lambda seed: Reordered(seed, within), f"reorder(within={within})")

    def drop_connection(self, nth: int | Iterable[int]) -> Faults:
        """The connection of each source is lost right after the nth message was handed over.

        All that is unsettled comes again, counted as delivered once more; what is told of it afterwards means nothing.
        """
        chosen = which("drop_connection", nth)
        return self._with(lambda seed: Dropped(seed, chosen), f"drop_connection({chosen})")

    def refuse(
        self,
        *,
        nth: _Which = None,
        every: int | None = None,
        share: float | None = None,
        sink: str | None = None,
        error: Exception | None = None,
    ) -> Faults:
        """Some messages are refused by the ``sink`` of that name, or by every sink, while others of that write are safe.

        They become failures, and dead letters. A queue of dead letters refuses only where it is named.
        """
        chosen, made = which("refuse", nth, every, share), _maker("refuse", error)
        return self._with(lambda seed: Refused(seed, chosen, sink, made), f"refuse({chosen}{_named(sink)})")

    def fail_write(
        self,
        nth: _Which = None,
        *,
        every: int | None = None,
        share: float | None = None,
        sink: str | None = None,
        error: Exception | None = None,
        written: bool = False,
    ) -> Faults:
        """Some writes of the ``sink`` of that name, or of every sink, fail: the pipeline stops with this error.

        What was in flight goes back to its source. With ``written`` it is written all the same, as where only the
        confirmation is lost. Writes to a queue of dead letters fail only where it is named.
        """
        chosen, made = which("fail_write", nth, every, share), _maker("fail_write", error)
        text = f"fail_write({chosen}{_named(sink)}{', written=True' if written else ''})"
        return self._with(lambda seed: Failed(seed, chosen, sink, made, written), text)

    def also(self, fault: Ends) -> Faults:
        """A fault of your own: an `Ends` that changes what comes, or stands around sources or sinks."""
        if not isinstance(fault, Ends):
            raise GraphError(f"also({fault!r}): give a warren.testing.Ends, whose methods put something around the ends")
        return self._with(lambda seed: fault, f"also({fault!r})")

    def begin(self) -> Ends:
        """These faults around the ends of one trial."""
        return _Begun(repr(self), self._acts)


def audited(faults: Ends | None) -> Faults:
    """These faults, with an account of what is settled in any case.

    >>> audited(None), audited(Faults(3)), audited(Ends())
    (Faults(seed=0), Faults(seed=3), Faults(seed=0).also(Ends))
    """
    if isinstance(faults, Faults):
        return faults
    return Faults() if faults is None else Faults().also(faults)


def _named(sink: str | None) -> str:
    return "" if sink is None else f", sink={sink!r}"


def _maker(step: str, error: Any) -> Callable[[], Exception]:
    if error is None:
        return lambda: ConnectorError(_TEXT)
    if not isinstance(error, Exception):
        raise GraphError(f"{step}(error={error!r}): give an exception, such as ConnectorError('the disk is full')")
    return lambda: error


class _Begun(Ends):
    """The faults of one trial, one around the other, and an account of every source on either side of them."""

    def __init__(self, text: str, acts: Sequence[Ends]) -> None:
        self.text = text
        self.acts = [act.begin() for act in acts]
        self.audits: list[Audit] = []

    def _audit(self, name: str, connection: SourceConnection) -> Audit:
        self.audits.append(Audit(name, connection))
        return self.audits[-1]

    def arrivals(self, source: str, arrivals: Sequence[Arrival]) -> Sequence[Arrival]:
        for act in self.acts:
            arrivals = act.arrivals(source, arrivals)
        return arrivals

    def source(self, name: str, connection: SourceConnection) -> SourceConnection:
        connection = self._audit(name, connection)
        for act in self.acts:
            connection = act.source(name, connection)
        # Inside, what the source was told in the end; outside, what the pipeline tells the connection it has.
        return self._audit(name, connection) if self.acts else connection

    def sink(self, name: str, connection: SinkConnection, *, dead: bool) -> SinkConnection:
        for act in self.acts:
            connection = act.sink(name, connection, dead=dead)
        return connection

    def finish(self, error: BaseException | None) -> None:
        if error is not None and not isinstance(error, Exception):
            return
        found = list(dict.fromkeys(problem for audit in self.audits for problem in audit.problems()))
        if found:
            raise AssertionError("\n".join(["not every message was settled exactly once:", "", *found, "", self.text]))
