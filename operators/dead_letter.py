"""`dead_letter`: put failed messages aside, durably and with the reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from warren.core.chunk import Chunk, Failure
from warren.core.errors import GraphError, exception_types
from warren.core.graph import Operator, Sink
from warren.core.stage import FailureHandler, Handler, Run, Stage

__all__ = ["DeadLetter", "DeadLetterSink", "dead_letter"]


def dead_letter(queue: str, *, on: type[Exception] | tuple[type[Exception], ...] = Exception) -> DeadLetter:
    """Write the failures of the steps before it to a dead-letter queue of the source's broker; values pass.

    As a branch of `route` it takes whatever arrives there. Failures that no `dead_letter` takes go to the pipeline's own
    queue, so this is for those that deserve another place. ``on`` limits it to some exceptions.

    Keeps the delivery guarantee: the original message is written with the error, its fingerprint, step and attempts
    before it is acknowledged.

    Raises `GraphError` for an empty name, or where ``on`` is no exception type.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> from warren.operators import map
    >>> flow = memory.items([]) | map(lambda x: 1 / x) | dead_letter("zeros", on=ZeroDivisionError) | memory.into([])
    >>> result = Pipeline("inverse", flow).test([1, 0])
    >>> result.values, [letter.value for letter in result.dead_letters["zeros"]]
    ([1.0], [0])
    """
    if not isinstance(queue, str) or not queue:
        raise GraphError(f"dead_letter({queue!r}): give the queue a name, such as dead_letter('unroutable')")
    return DeadLetter(queue, exception_types(on, "dead_letter"))


class DeadLetter(Operator[Any, Any]):
    """Made by `dead_letter`."""

    passes = True

    def __init__(self, queue: str, on: tuple[type[Exception], ...]) -> None:
        self.queue = queue
        self.on = on

    @property
    def name(self) -> str:
        """What errors, drawings and recordings call it."""
        return f"dead_letter({self.queue})"

    @property
    def guarantee(self) -> str:
        """When a message is acknowledged."""
        return "acknowledged once the dead letter is durable"

    def attach(self, stage: Stage) -> Handler:
        """Let values pass."""
        return lambda chunk: chunk

    def attach_failures(self, stage: Stage) -> FailureHandler:
        """Start taking failures; returns those that go on."""

        def take(failures: Sequence[Failure]) -> Sequence[Failure]:
            mine = [failure for failure in failures if isinstance(failure.error, self.on)]
            if mine:
                stage.run.dead_letter(mine, self.queue)
            return [failure for failure in failures if not isinstance(failure.error, self.on)]

        return take

    def as_sink(self) -> Sink[Any]:
        """The form that ends a branch: takes values as well."""
        return DeadLetterSink(self.queue)


class DeadLetterSink(Sink[Any]):
    """Made by `DeadLetter.as_sink`."""

    def __init__(self, queue: str) -> None:
        self.queue = queue

    @property
    def name(self) -> str:
        """What errors, drawings and recordings call it."""
        return f"dead_letter({self.queue})"

    @property
    def guarantee(self) -> str:
        """When a message is acknowledged."""
        return "acknowledged once the dead letter is durable"

    def compile(self, run: Run, path: str) -> Callable[[Chunk], None]:
        """What takes the chunks that reach it."""
        stage = Stage(run, path, f"{path}{self.name}")

        def take(chunk: Chunk) -> None:
            run.dead_letter([*chunk.failures, *stage.reject(chunk, f"routed to dead_letter({self.queue})")], self.queue)

        return take
