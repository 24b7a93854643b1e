"""A run to try one operator in: a real ledger, virtual time, and no source or sink."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from reactivex.scheduler import HistoricalScheduler
from reactivex.subject import Subject

from warren.core.chunk import Chunk, Failure
from warren.core.graph import Operator
from warren.core.message import Batch
from warren.core.receipt import DELIVERED, Delivery, Kind, Ledger, Outcome
from warren.core.stage import Stage


class FakeRun:
    """What an operator sees of a pipeline, with the means to look at it from outside."""

    def __init__(self, start: float = 0.0) -> None:
        self.ledger = Ledger(self._on_settled)
        self.scheduler = HistoricalScheduler(datetime.fromtimestamp(start, UTC))
        self.observers: Sequence[Any] = ()
        self.depth: int | None = None
        self.sources: Sequence[Any] = ()
        self.busy = 0
        self.pending_timers = 0
        self.settled: Counter[int] = Counter()
        self.kinds: dict[int, Kind] = {}
        self.stopped: list[BaseException] = []
        self._flushes: list[Callable[[], None]] = []
        self.closes: list[Callable[[], None]] = []

    def _on_settled(self, _: Delivery, tokens: Sequence[int], outcome: Outcome) -> None:
        self.settled.update(tokens)
        self.kinds.update(dict.fromkeys(tokens, outcome.kind))

    def clock(self) -> float:
        return self.scheduler.now.timestamp()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        raise NotImplementedError

    def crash(self, error: BaseException) -> None:
        self.stopped.append(error)

    def begin(self) -> None:
        self.busy += 1

    def end(self) -> None:
        self.busy -= 1

    def timers(self, change: int) -> None:
        self.pending_timers += change

    def on_flush(self, flush: Callable[[], None]) -> None:
        self._flushes.append(flush)

    def on_close(self, close: Callable[[], None]) -> None:
        self.closes.append(close)

    def on_depth(self, branch: Any, every: float, tell: Callable[[int, float], None]) -> None:
        raise NotImplementedError

    exhausted = True
    stopping = False

    keeper: Any = None

    def dead_letter(self, failures: Sequence[Failure], queue: str | None = None) -> None:
        raise NotImplementedError

    def terminal(self, sink: Any, path: str) -> Callable[[Chunk], None]:
        raise NotImplementedError

    def flush(self) -> None:
        for flush in self._flushes:
            flush()


class Bench:
    """One operator in a fake run: push values, turn the clock, look at what came out and what was settled."""

    def __init__(self, operator: Operator[Any, Any], start: float = 0.0) -> None:
        self.run = self.make_run(start)
        self.out: list[Chunk] = []
        self.at: list[float] = []
        self.stages = []
        forward: Callable[[Chunk], None] = self._collect
        for step in reversed(operator.steps):
            stage = Stage(self.run, "", step.name)
            stage.connect(forward)
            if type(step).compile is Operator.compile:
                forward = stage.serve(step.attach(stage), step.attach_failures(stage))
            else:
                inlet: Subject[Chunk] = Subject()
                step.compile(stage)(inlet).subscribe(forward)
                forward = inlet.on_next
            self.stages.append(stage)
        self._forward = forward
        self.pushed: list[int] = []

    def make_run(self, start: float) -> FakeRun:
        return FakeRun(start)

    def _collect(self, chunk: Chunk) -> None:
        assert len(chunk.values) == len(chunk.tokens)
        self.out.append(chunk)
        self.at += [self.run.clock()] * len(chunk.values)

    def accept(self, values: Sequence[Any]) -> range:
        """Take messages over from a source without pushing them."""
        delivery = self.run.ledger.accept("test", Batch(list(values), list(range(len(values)))), self.run.clock())
        self.pushed += delivery.tokens
        return delivery.tokens

    def push(self, *values: Any, attempt: int = 1) -> Bench:
        self._forward(Chunk(list(values), self.accept(values), (), attempt))
        return self

    def hand(self, chunk: Chunk) -> None:
        self._forward(chunk)

    def wait(self, seconds: float) -> Bench:
        self.run.scheduler.advance_by(timedelta(seconds=seconds))
        return self

    def flush(self) -> Bench:
        self.run.flush()
        return self

    @property
    def values(self) -> list[Any]:
        return [value for chunk in self.out for value in chunk.values]

    @property
    def failures(self) -> list[Failure]:
        return [failure for chunk in self.out for failure in chunk.failures]

    @property
    def errors(self) -> list[str]:
        return [str(failure.error) for failure in self.failures]

    def kinds(self) -> list[str]:
        """How each message pushed has ended so far, in order; empty where it has not."""
        return [self.run.kinds[token].name if token in self.run.kinds else "" for token in self.pushed]

    def finish(self) -> Bench:
        """Flush, deliver everything that came out, and check that every message was settled exactly once."""
        self.flush()
        for chunk in self.out:
            self.run.ledger.settle(chunk.tokens, DELIVERED)
            for failure in chunk.failures:
                self.run.ledger.settle([failure.token], Outcome(Kind.DEAD_LETTERED, "", failure))
        assert self.run.settled == Counter(self.pushed)
        assert self.run.ledger.outstanding == 0
        assert (self.run.busy, self.run.pending_timers) == (0, 0)
        return self


class Flaky:
    """Raises an error as often as said for each value."""

    __name__ = "flaky"

    def __init__(self, times: int, error: Exception | None = None) -> None:
        self.times = times
        self.error = error or ConnectionError("busy")
        self.calls: Counter[Any] = Counter()

    def __call__(self, value: Any) -> Any:
        self.calls[value] += 1
        if self.calls[value] <= self.times:
            raise self.error
        return value
