"""`retry`: try failed messages again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from warren.core.chunk import Chunk, Failure
from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError, MessageError, exception_types
from warren.core.graph import Operator, name_of
from warren.core.receipt import Kind, Outcome
from warren.core.stage import FailureHandler, Handler, Stage
from warren.operators.backoff import Backoff

__all__ = ["retry"]

T = TypeVar("T")


def retry(
    backoff: Backoff,
    *,
    on: type[Exception] | tuple[type[Exception], ...] = Exception,
    park: Duration = "10s",
) -> Operator[Any, Any]:
    """Try failed messages again, from the step that failed, after a delay that the policy gives.

    It takes the failures of every step between the previous `retry` (or the source) and itself whose exception is one of
    ``on``; what the policy gives up goes on as a failure, to the next `retry` or the dead letters. A `MessageError` (a
    message that cannot be decoded, was rejected, …) is tried again only if ``on`` names it.

    A delay of up to ``park`` is held in the process; a longer one is parked with the source's broker, does not sit on a
    credit, and starts again from the source. Attempts of parked messages are counted durably.

    Keeps the delivery guarantee: a message is acknowledged only when a later attempt succeeds or it is dead-lettered.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> from warren.operators import exponential, map
    >>> answers = iter([ConnectionError("busy"), "done"])
    >>> def ask(value: int) -> str:
    ...     answer = next(answers)
    ...     if isinstance(answer, Exception):
    ...         raise answer
    ...     return answer
    >>> flow = memory.items([]) | map(ask) | retry(exponential("200ms"), on=ConnectionError) | memory.into([])
    >>> Pipeline("asked", flow).test([1]).values
    ['done']
    """
    if not callable(backoff):
        raise GraphError(f"retry({backoff!r}): give a policy such as exponential('200ms', attempts=5)")
    return _Retry(backoff, exception_types(on, "retry"), seconds(park))


class _Retry(Operator[Any, Any]):
    def __init__(self, backoff: Backoff, kinds: tuple[type[Exception], ...], park: float) -> None:
        self.backoff = backoff
        self.kinds = kinds
        self.park = park
        self.named = tuple(kind for kind in kinds if issubclass(kind, MessageError))

    @property
    def name(self) -> str:
        return f"retry({name_of(self.backoff)})"

    @property
    def guarantee(self) -> str:
        return "acknowledged after a later attempt"

    def matches(self, failure: Failure) -> bool:
        """Whether a failure is one to try again."""
        if failure.redo is None:
            return False
        if isinstance(failure.error, MessageError):
            return isinstance(failure.error, self.named)
        return isinstance(failure.error, self.kinds)

    def attach(self, stage: Stage) -> Handler:
        def succeeded(chunk: Chunk) -> Chunk:
            stage.ledger.resume(chunk.tokens)
            chunk.attempt = 1
            return chunk

        return succeeded

    def attach_failures(self, stage: Stage) -> FailureHandler:
        """Start taking failures; returns those that go on."""
        ledger = stage.ledger

        def take(failures: Sequence[Failure]) -> Sequence[Failure]:
            passed = []
            for failure in failures:
                delay = self.delay(stage, failure) if self.matches(failure) else None
                if delay is None:
                    ledger.resume((failure.token,))
                    passed.append(failure)
                elif delay > self.park:
                    ledger.settle((failure.token,), Outcome(Kind.PARKED, self.name, failure, delay))
                else:
                    ledger.wait(failure.token)
                    ledger.count_retry(failure.token)
                    stage.later(delay, _again(failure), busy=True)
            return passed

        return take

    def delay(self, stage: Stage, failure: Failure) -> float | None:
        """Seconds until the next attempt, counting those before the message was last parked; ``None`` to give up."""
        origin = next(stage.ledger.origins(failure.token))
        delivery = stage.ledger.delivery(origin)
        parked = delivery.durable_attempt(origin) - 1 if delivery is not None else 0
        return self.backoff(parked + failure.attempt)


def _again(failure: Failure) -> Callable[[], None]:
    def again() -> None:
        assert failure.redo is not None
        failure.redo(Chunk([failure.value], (failure.token,), (), failure.attempt + 1))

    return again
