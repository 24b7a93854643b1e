"""`timeout`: a limit on how long a value may be under way in some steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from reactivex.subject import Subject

from warren.core.chunk import Chunk, Failure
from warren.core.clock import Duration
from warren.core.errors import GraphError, shorten
from warren.core.graph import Operator, Step
from warren.core.receipt import FILTERED, Merge, Part, Token
from warren.core.stage import Handler, RxOperator, Stage, compile_steps, wired
from warren.operators.holding import Alarm, period

__all__ = ["timeout"]

T = TypeVar("T")
U = TypeVar("U")

Redo = Callable[[Chunk], None]


def timeout(steps: Operator[T, U], duration: Duration) -> Operator[T, U]:
    """Fail a value that is not out of the given steps within ``duration``, with `TimeoutError`; its late result is dropped.

    A value is out when the first of what is made of it comes out, when it fails in there, and when it is filtered or
    dead-lettered there. A `retry` behind this puts it through the steps again. The work itself is not interrupted, and
    keeps its place: to cut off a call, use ``map(..., timeout=...)``. A batch or window in there counts against the values
    that wait in it; what it makes of values of which some are too late goes on, as the others are in time.

    Keeps the delivery guarantee: the message fails, and is acknowledged as any failed one; what is still made of it settles
    nothing.

    Raises `GraphError` where ``steps`` is no operator, or ``duration`` not above zero.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> from warren.operators import delay
    >>> bounded = timeout(delay(lambda n: n), "3s")
    >>> result = Pipeline("bounded", memory.items([]) | bounded | memory.into([])).test([1, 5])
    >>> result.values, [letter.error for letter in result.dead_letters["bounded.dead"]]
    ([1], ['TimeoutError'])
    """
    if not isinstance(steps, Operator):
        raise GraphError(f"timeout({shorten(steps)}): give the steps to bound, as timeout(map(ask) | map(store), '5s')")
    return _Timeout(steps, period(duration, f"timeout({steps.name}, ...)"))


class _Timeout(Operator[Any, Any]):
    def __init__(self, inner: Operator[Any, Any], limit: float) -> None:
        self.inner = inner
        self.limit = limit

    def gives(self, type: Any) -> Any:
        return self.inner.gives(type)

    @property
    def name(self) -> str:
        return f"timeout({self.limit:g}s)"

    @property
    def guarantee(self) -> str:
        return "late results dropped"

    def branches(self) -> Iterator[tuple[str, Step]]:
        yield "within", self.inner

    def attach(self, stage: Stage) -> Handler:
        """Not used: `compile` wires the steps inside."""
        raise NotImplementedError

    def compile(self, stage: Stage) -> RxOperator:
        inlet: Subject[Chunk] = Subject()
        clock = _Clock(self, stage, inlet.on_next)
        compile_steps(stage.run, stage.child(".within"), self.inner.steps)(inlet).subscribe(clock.leave, stage.run.crash)
        # After the steps inside, which let go of what they hold at a flush first.
        stage.run.on_flush(clock.forget)
        return wired(stage, stage.serve(clock.take))


class _Ticket(Merge):
    """The token of a value while it is inside; once it is too late, whatever becomes of it settles nothing."""

    __slots__ = ("attempt", "clock", "late", "out", "redo", "token", "value")

    def __init__(self, clock: _Clock, value: Any, token: Token, attempt: int, redo: Redo) -> None:
        super().__init__(((token,),))
        self.clock = clock
        self.value = value
        self.token = token
        self.attempt = attempt
        self.redo = redo
        self.out = False
        self.late = False


class _Clock:
    """Gives a ticket to what goes in, looks for it in what comes out, and fails what is too late."""

    def __init__(self, operator: _Timeout, stage: Stage, into: Redo) -> None:
        self.stage = stage
        self.limit = operator.limit
        self.sentence = f"{stage}: not out of {operator.inner.name} within {operator.limit:g} s"
        self.into = into
        self.alarm = Alarm(stage, self.ring)
        self.inside: deque[tuple[float, list[_Ticket]]] = deque()

    def take(self, chunk: Chunk) -> None:
        self.enter(chunk, self.stage.inject, self.into)

    def enter(self, chunk: Chunk, redo: Redo, into: Redo) -> None:
        """Put values into the steps; ``redo`` is how to try them again."""
        pairs = zip(chunk.values, chunk.tokens, strict=True)
        tickets = [_Ticket(self, value, token, chunk.attempt, redo) for value, token in pairs]
        due = self.alarm.now() + self.limit
        self.inside.append((due, tickets))
        into(Chunk(chunk.values, list(tickets), (), chunk.attempt))
        self.forget()

    def again(self, redo: Redo) -> Redo:
        """How to try a step inside again, with as much time as the first attempt had."""

        def enter(chunk: Chunk) -> None:
            self.enter(chunk, enter, redo)

        return enter

    def leave(self, chunk: Chunk) -> None:
        """Pass on what comes out, unless it is too late."""
        values: list[Any] = []
        tokens: list[Token] = []
        for value, token in zip(chunk.values, chunk.tokens, strict=True):
            if self.in_time(token):
                values.append(value)
                tokens.append(self.own(token))
        failures: list[Failure] = []
        for failure in chunk.failures:
            if self.in_time(failure.token):
                token, redo = self.own(failure.token), failure.redo and self.again(failure.redo)
                failures.append(Failure(token, failure.value, failure.error, failure.stage, failure.attempt, redo))
        self.forget()
        if values or failures:
            self.stage.emit(Chunk(values, tokens, failures, chunk.attempt))

    def own(self, token: Token) -> Token:
        """The token that a value came in with, where it is one of those; otherwise it descends from some."""
        return token.token if isinstance(token, _Ticket) and token.clock is self else token

    def in_time(self, token: Token) -> bool:
        """Whether something that comes out is not made of late values alone; which were in there is noted."""
        tickets = list(self.tickets(token))
        if tickets and all(ticket.late for ticket in tickets):
            self.stage.settle((token,), FILTERED)
            return False
        for ticket in tickets:
            ticket.out = True
        return True

    def tickets(self, token: Token) -> Iterator[_Ticket]:
        """The tickets a token descends from."""
        if isinstance(token, _Ticket) and token.clock is self:
            yield token
        elif isinstance(token, Part):
            yield from self.tickets(token.split.parent)
        elif isinstance(token, Merge):
            for segment in token.segments:
                for each in segment:
                    yield from self.tickets(each)

    def forget(self) -> None:
        """Let go of tickets that are out, or settled inside; and wait for the oldest of the others."""
        while self.inside:
            tickets = self.inside[0][1]
            while tickets and (tickets[-1].out or tickets[-1].settled):
                tickets.pop()
            if tickets:
                self.alarm.set(self.inside[0][0])
                return
            self.inside.popleft()
        self.alarm.clear()

    def ring(self, now: float) -> None:
        failures: list[Failure] = []
        while self.inside and self.inside[0][0] <= now:
            failures += self.expired(self.inside.popleft()[1])
        self.forget()
        if failures:
            self.stage.emit(Chunk([], (), failures))

    def expired(self, tickets: Sequence[_Ticket]) -> Iterator[Failure]:
        """Fail those that are still inside."""
        for ticket in tickets:
            if not ticket.out and not ticket.settled:
                # From now on the failure alone says what becomes of the message.
                ticket.late = ticket.settled = True
                error = TimeoutError(self.sentence)
                yield Failure(ticket.token, ticket.value, error, self.stage.name, ticket.attempt, ticket.redo)
