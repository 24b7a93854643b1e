"""What steps with branches share: checking them, wiring them, and joining what the open ones give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from reactivex import Observable, abc
from reactivex.subject import Subject

from warren.core.chunk import Chunk
from warren.core.errors import GraphError, shorten
from warren.core.graph import Ended, Operator, Sink, Step
from warren.core.hints import either
from warren.core.stage import Handler, Run, RxOperator, Stage, compile_steps
from warren.operators.dead_letter import DeadLetter

__all__ = ["Branching", "Entry", "checked", "ended_if_closed"]

Entry: TypeAlias = Callable[[Chunk], None]
"""What takes the chunks of a branch."""


def checked(branches: Mapping[Any, Any], title: str) -> dict[Any, Step]:
    """The branches, where each is an operator or a sink; a bare `dead_letter` becomes one that takes values as well."""
    for label, branch in branches.items():
        if not isinstance(branch, Operator | Sink):
            raise GraphError(f"{title}: the branch {label!r} is {shorten(branch)}; it must be an operator or a sink")
    return {label: branch.as_sink() if isinstance(branch, DeadLetter) else branch for label, branch in branches.items()}


def ended_if_closed(operator: Branching) -> Any:
    """The operator, or a sink where every one of its branches is one."""
    if all(isinstance(branch, Sink) for _, branch in operator.branches()):
        return Ended((operator,), _Nowhere())
    return operator


class _Nowhere(Sink[Any]):
    """The end of a step whose branches have all ended: only failures of earlier steps come here."""

    @property
    def name(self) -> str:
        return ""

    def compile(self, run: Run, path: str) -> Callable[[Chunk], None]:
        return lambda chunk: run.dead_letter(chunk.failures)


class Branching(Operator[Any, Any]):
    """A step with branches by label; `handler` says which of them a chunk enters."""

    def __init__(self, named: Mapping[Any, Step]) -> None:
        self.named = named

    def gives(self, type: Any) -> Any:
        """What its open branches give."""
        return either(branch.gives(type) for _, branch in self.branches() if isinstance(branch, Operator))

    def branches(self) -> Iterator[tuple[str, Step]]:
        """Its branches by label."""
        yield from ((str(label), branch) for label, branch in self.named.items())

    def attach(self, stage: Stage) -> Handler:
        """Not used: `compile` wires the branches."""
        raise NotImplementedError

    def handler(self, stage: Stage, entries: list[Entry]) -> Handler:
        """What handles a chunk, given what takes the chunks of each branch, in the order of `branches`."""
        raise NotImplementedError

    def compile(self, stage: Stage) -> RxOperator:
        """One subject for each branch; what open branches give goes on."""
        # Compiled now and not at subscription: steps flush in the order they are compiled, and what follows comes later.
        joined: Subject[Chunk] = Subject()
        entries = [_entry(stage, label, branch, joined) for label, branch in self.branches()]
        handle = stage.serve(self.handler(stage, entries))

        def compiled(source: Observable[Chunk]) -> Observable[Chunk]:
            def subscribe(observer: abc.ObserverBase[Chunk], scheduler: abc.SchedulerBase | None = None) -> Any:
                stage.connect(observer.on_next)
                joined.subscribe(observer.on_next, observer.on_error)
                return source.subscribe(handle, observer.on_error, observer.on_completed, scheduler=scheduler)

            return Observable(subscribe)

        return compiled


def _entry(stage: Stage, label: str, branch: Step, observer: abc.ObserverBase[Chunk]) -> Entry:
    path = stage.child(f".{label}")
    if isinstance(branch, Sink):
        return branch.compile(stage.run, path)
    assert isinstance(branch, Operator)
    subject: Subject[Chunk] = Subject()
    compile_steps(stage.run, path, branch.steps)(subject).subscribe(observer.on_next, observer.on_error)
    return subject.on_next
