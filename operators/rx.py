"""`rx`: any `reactivex.operators` function inside a pipeline."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from reactivex import Observable, abc
from reactivex.disposable import Disposable
from reactivex.scheduler import TrampolineScheduler
from reactivex.scheduler.periodicscheduler import PeriodicScheduler
from reactivex.subject import Subject

from warren.core.chunk import Chunk
from warren.core.errors import GraphError
from warren.core.graph import Operator
from warren.core.receipt import FILTERED, Token
from warren.core.stage import Handler, Stage

__all__ = ["rx"]


def rx(*operators: Callable[[Observable[Any]], Observable[Any]], holds: bool = False) -> Operator[Any, Any]:
    """Put values through functions of `reactivex.operators`, one after the other.

    Keeps the delivery guarantee, as far as this goes:
    what they give while a value is handed to them descends from that value: its message is acknowledged when all of that is
    safe, and at once where it is nothing. So without ``holds`` they must not keep a value for later (as ``reduce`` or
    ``buffer_with_count`` do), as its message is acknowledged before: one that needs a timer fails its messages, and giving a
    value by itself, also at the drain, stops the pipeline, both with a `GraphError`.

    With ``holds=True`` they may. A message is then acknowledged with the next value they give, whichever it was made of;
    what they give beside that settles nothing. When the pipeline drains they are completed, so that ``reduce`` and the like
    give their last value; then what is still held is acknowledged.

    An error of theirs fails the messages being held and the one being handed over, and they start anew. Once they complete
    by themselves (``take``, ``first``), later values are dropped.

    Raises `GraphError` where there is no operator or one is not a function.

    >>> from reactivex import operators as ops
    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> changes = rx(ops.distinct_until_changed())
    >>> Pipeline("changes", memory.items([]) | changes | memory.into([])).test([1, 1, 2]).values
    [1, 2]
    """
    if not operators:
        raise GraphError("rx(): give at least one function of reactivex.operators, such as rx(ops.distinct_until_changed())")
    for operator in operators:
        if not callable(operator):
            raise GraphError(f"rx({operator!r}): this is not an operator of reactivex; call it: rx(ops.pairwise())")
    return _Rx(operators, holds)


class _Rx(Operator[Any, Any]):
    def __init__(self, operators: Sequence[Callable[[Observable[Any]], Observable[Any]]], holds: bool) -> None:
        self.operators = operators
        self.holding = holds

    @property
    def name(self) -> str:
        return f"rx({', '.join(map(_label, self.operators))})"

    @property
    def guarantee(self) -> str:
        return "acknowledged with the next value given" if self.holding else "must not keep values for later"

    @property
    def holds(self) -> int | None:
        return None if self.holding else 0

    def attach(self, stage: Stage) -> Handler:
        return _Adapter(self, stage).take


def _label(operator: Callable[..., Any]) -> str:
    # reactivex's operators are closures named after what made them, some inside a wrapper named curry_flip.
    label = str(getattr(operator, "__qualname__", "…")).split(".")[0]
    if label == "curry_flip":
        cells = (cell.cell_contents for cell in operator.__closure__ or ())
        label = next((cell.__name__ for cell in cells if inspect.isfunction(cell)), "…")
    return label.strip("_")


class _Adapter:
    def __init__(self, operator: _Rx, stage: Stage) -> None:
        self.operator = operator
        self.stage = stage
        self.scheduler = _Inside(self)
        self.inlet: Subject[Any] | None = None
        self.subscription: abc.DisposableBase = Disposable()
        # What the operators gave since it was last taken; what they may still hold, and the token they gave last.
        self.given: list[Any] = []
        self.error: Exception | None = None
        self.held: list[tuple[Token, Any]] = []
        self.last: Token | None = None
        self.received = False
        self.completed = False
        self.finishing = False
        # What they give at once, as start_with does, leaves with the first value.
        self.pushing = True
        self.subscribe()
        self.pushing = False
        if self.error is not None:
            raise self.error
        stage.run.on_flush(self.flush)

    @property
    def advice(self) -> str:
        return f"{self.stage}: the operators keep values for later; say so with rx(..., holds=True), or leave them out"

    def subscribe(self) -> None:
        self.inlet = Subject()
        self.subscription = self.inlet.pipe(*self.operator.operators).subscribe(
            self.on_next, self.on_error, self.on_completed, scheduler=self.scheduler
        )

    def on_next(self, value: Any) -> None:
        self.given.append(value)
        if not self.pushing:
            self.give()

    def on_error(self, error: Exception) -> None:
        self.error = error
        if not self.pushing:
            self.give()

    def on_completed(self) -> None:
        self.completed = not self.finishing

    def give(self) -> None:
        """Pass on what the operators gave by themselves."""
        if not self.received:
            return
        if self.given and not self.held and not self.operator.holding:
            self.given = []
            self.stage.run.crash(GraphError(self.advice))
            return
        out = Chunk([], [])
        self.settle_given(out)
        if out.values or out.failures:
            self.stage.emit(out)

    def take(self, chunk: Chunk) -> Chunk:
        self.received = True
        out = Chunk([], [], [], 1 if self.operator.holding else chunk.attempt)
        for value, token in zip(chunk.values, chunk.tokens, strict=True):
            if self.completed:
                self.stage.settle([token], FILTERED)
                continue
            self.held.append((token, value))
            self.pushing = True
            try:
                if self.inlet is None:
                    self.subscribe()
                assert self.inlet is not None
                self.inlet.on_next(value)
            except Exception as error:
                self.error = error
            finally:
                self.pushing = False
            self.settle_given(out, chunk.attempt)
        return out

    def settle_given(self, out: Chunk, attempt: int = 1) -> None:
        """Give the values that came out the tokens of what went in."""
        held, given, error = self.held, self.given, self.error
        ledger = self.stage.ledger
        if error is not None:
            # What was given with an error may be half of something, so the messages fail as a whole.
            self.held, self.given, self.error = [], [], None
            self.inlet = None
            self.subscription.dispose()
            failures = [self.stage.failure(token, value, error, attempt) for token, value in held]
            out.failures = [*out.failures, *failures]
        elif given:
            self.held, self.given = [], []
            if held:
                self.last = held[0][0] if len(held) == 1 else ledger.merge([[token for token, _ in held]])
                tokens = ledger.split(self.last, len(given))
            else:
                # Nothing came since the last: this half settles nothing, and tells where the value is from.
                assert self.last is not None
                tokens = [ledger.split(self.last, 2)[0] for _ in given]
            out.values += given
            out.tokens += tokens  # type: ignore[operator]  # a list, made by the callers
        elif held and (self.completed or not self.operator.holding):
            self.held = []
            self.stage.settle([token for token, _ in held], FILTERED)

    def flush(self) -> None:
        """Complete the operators, pass on what they give then, and let go of the rest."""
        if self.inlet is not None and not self.completed:
            inlet, self.inlet = self.inlet, None
            self.finishing = self.pushing = True
            try:
                inlet.on_completed()
            except Exception as error:
                self.error = error
            finally:
                self.finishing = self.pushing = False
            self.subscription.dispose()
            self.give()
        held, self.held = self.held, []
        self.stage.settle([token for token, _ in held], FILTERED)


class _Inside(PeriodicScheduler):
    """Time for the operators inside: the pipeline's, where they may wait; what is due at once runs before the push ends."""

    def __init__(self, adapter: _Adapter) -> None:
        super().__init__()
        self.adapter = adapter
        self.trampoline = TrampolineScheduler()

    @property
    def now(self) -> datetime:
        return self.adapter.stage.run.scheduler.now

    def schedule(self, action: Any, state: Any = None) -> abc.DisposableBase:
        return self.trampoline.schedule(action, state)

    def schedule_relative(self, duetime: Any, action: Any, state: Any = None) -> abc.DisposableBase:
        if not self.adapter.operator.holding:
            raise GraphError(self.adapter.advice)
        return Disposable(self.adapter.stage.later(max(0.0, self.to_seconds(duetime)), lambda: action(self, state)))

    def schedule_absolute(self, duetime: Any, action: Any, state: Any = None) -> abc.DisposableBase:
        return self.schedule_relative(self.to_datetime(duetime) - self.now, action, state)
