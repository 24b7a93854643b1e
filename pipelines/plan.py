"""What is checked and derived when a pipeline is built."""

from __future__ import annotations

from typing import Any

from warren.core.errors import GraphError
from warren.core.graph import Ended, Flow, Operator, Sink, Source, Step, Stream

__all__ = ["derive_credit", "required_credit"]

_DEFAULT_CREDIT = 8_192
_WINDOW_CREDIT = 65_536


def check_flow(name: str, flow: Any) -> Flow:
    """The flow, if it is complete; otherwise a `GraphError` that says what is missing."""
    if isinstance(flow, Flow):
        return flow
    if isinstance(flow, Source):
        raise GraphError(
            f"pipeline {name!r}: what {flow.name.rsplit(' | ', 1)[-1]} gives goes nowhere, so its messages would never be "
            f"settled; end the pipeline with a sink, such as | sqlite.queue(...) or | discard()"
        )
    if isinstance(flow, Operator | Sink):
        raise GraphError(f"pipeline {name!r} starts with {flow.name}, which reads nothing; put a source before it")
    raise GraphError(f"pipeline {name!r}: {flow!r} is not a flow; compose it as source | operators | sink")


def required_credit(flow: Flow) -> tuple[int, bool]:
    """The least credit with which every batch can fill, and whether something is held that only time bounds."""
    source = flow.source
    inner: list[Operator[Any, Any]] = list(flow.steps)
    unbounded = False
    need = 0
    for _, part in source.branches():
        if isinstance(part, Stream):
            more, timed = _held(part.steps)
            need, unbounded = need + more, unbounded or timed
    more, timed = _held(inner)
    return max(1, need + more), unbounded or timed


def _held(steps: list[Operator[Any, Any]] | tuple[Operator[Any, Any], ...]) -> tuple[int, bool]:
    """Messages that the steps can hold at once; a value behind a batch stands for all the messages in it."""
    total, each, unbounded = 0, 1, False
    for step in steps:
        holds = step.holds
        if holds is None:
            unbounded = True
        elif holds:
            total += (holds - 1) * each
            each *= holds
        for _, branch in step.branches():
            inner, timed = _held(_steps(branch))
            total += inner * each
            unbounded = unbounded or timed
    return total + (each > 1), unbounded


def _steps(step: Step) -> tuple[Operator[Any, Any], ...]:
    if isinstance(step, Operator | Ended):
        return step.steps
    return ()


def derive_credit(name: str, flow: Flow, credit: int | None) -> int:
    """How many messages may be unsettled at once: as given, if every batch can fill with it, or derived."""
    need, unbounded = required_credit(flow)
    if credit is None:
        return max(_WINDOW_CREDIT if unbounded else _DEFAULT_CREDIT, 2 * need)
    if not isinstance(credit, int) or isinstance(credit, bool) or credit < 1:
        raise GraphError(f"pipeline {name!r}: credit={credit!r} must be a whole number of at least 1")
    if credit < need:
        raise GraphError(
            f"pipeline {name!r}: its batches hold up to {need} messages before the last one fills, more than "
            f"credit={credit}, so they would wait for ever; "
            f"give credit={need} or more, make the batches smaller, or leave credit out"
        )
    return credit
