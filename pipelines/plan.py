"""What is checked and derived when a pipeline is built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from warren.core.arrow import is_frame
from warren.core.errors import GraphError
from warren.core.graph import Ended, Flow, Operator, Outlet, Sink, Source, Step, Stream
from warren.core.knobs import Setting

__all__ = ["check_settings", "credit_reason", "derive_credit", "outlets", "required_credit"]

_DEFAULT_CREDIT = 8_192
_WINDOW_CREDIT = 65_536
# Acknowledgements wait for a checkpoint, which is the dearer the more often it is taken.
_STATE_CREDIT = 131_072
# A data frame is often a million times as large as a struct.
_FRAME_CREDIT = 128


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


def check_settings(name: str, flow: Flow, credit: Setting | None = None) -> None:
    """Raises `GraphError` where two steps read the same setting: what is measured at one says nothing of the other."""
    found: dict[int, str] = {} if credit is None else {id(credit): "the credit"}
    for step, setting in _settings(flow):
        other = found.get(id(setting))
        found[id(setting)] = step.name
        if other is not None:
            raise GraphError(
                f"pipeline {name!r}: {other} and {step.name} have one setting, for {setting.knob.name!r}; "
                f"give each of them one of its own"
            )


def _settings(step: Step) -> Iterator[tuple[Step, Setting]]:
    if isinstance(step, Operator):
        yield from ((step, setting) for setting in step.settings)
    for _, inner in step.branches():
        yield from _settings(inner)


def required_credit(flow: Flow, *, keeps: bool = False) -> tuple[int, bool]:
    """The least credit with which every batch can fill, and whether something is held that only time bounds.

    ``keeps`` says that the pipeline keeps state.
    """
    held = _held(flow.steps, _source_held(flow.source, keeps), keeps)
    return held.total + 1, held.timed


class _Held(NamedTuple):
    """Messages that steps can hold at once, those one value behind them stands for, and whether only time bounds it.

    Behind a step that takes messages apart a value stands for none: how many of them make a message is not known here.
    """

    total: int = 0
    each: int = 1
    timed: bool = False


def _source_held(source: Source[Any], keeps: bool) -> _Held:
    if isinstance(source, Stream):
        return _held(source.steps, _source_held(source.source, keeps), keeps)
    return _joined([_source_held(part, keeps) for _, part in source.branches() if isinstance(part, Source)], _Held())


def _held(steps: Sequence[Operator[Any, Any]], before: _Held, keeps: bool) -> _Held:
    total, each, timed = before
    for step in steps:
        holds = 0 if keeps and step.shelves else step.holds
        if step.spreads:
            each = 0
        if holds:
            total += (holds - 1) * each
            each *= holds
        branches = [_held(_steps(branch), _Held(0, each), keeps) for _, branch in step.branches()]
        total, each, timed = _joined(branches, _Held(total, each, timed or step.timed))
    return _Held(total, each, timed)


def _joined(branches: Sequence[_Held], before: _Held) -> _Held:
    """Side by side, all of them can be full; a value behind them stands for as many as behind the largest."""
    return _Held(
        before.total + sum(branch.total for branch in branches),
        max([before.each, *(branch.each for branch in branches)]),
        before.timed or any(branch.timed for branch in branches),
    )


def _steps(step: Step) -> tuple[Operator[Any, Any], ...]:
    if isinstance(step, Operator | Ended):
        return step.steps
    return ()


def derive_credit(name: str, flow: Flow, credit: int | Setting | None, *, keeps: bool = False) -> int:
    """How many messages may be unsettled at once: as given, if every batch can fill with it, or derived.

    Of a setting it is the start, and every batch must fill with the least. ``keeps`` says that the pipeline keeps state.
    """
    if credit is None:
        return _derived(flow, keeps)[0]
    if isinstance(credit, Setting):
        derive_credit(name, flow, credit.knob.low, keeps=keeps)
        return credit.knob.start
    need, _ = required_credit(flow, keeps=keeps)
    if not isinstance(credit, int) or isinstance(credit, bool) or credit < 1:
        raise GraphError(f"pipeline {name!r}: credit={credit!r} must be a whole number of at least 1")
    if credit < need:
        raise GraphError(
            f"pipeline {name!r}: its batches hold up to {need} messages before the last one fills, more than "
            f"credit={credit}, so they would wait for ever; "
            f"give credit={need} or more, make the batches or the windows by count smaller, or leave credit out"
        )
    return credit


def credit_reason(flow: Flow, *, keeps: bool = False) -> str:
    """What a derived credit is derived from.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> from warren.operators import batch
    >>> credit_reason(Pipeline("p", memory.queue("a") | batch(9_000) | memory.queue("b")).flow)
    'twice the 9,000 that batches hold before the last one fills'
    """
    return _derived(flow, keeps)[1]


def _derived(flow: Flow, keeps: bool) -> tuple[int, str]:
    need, unbounded = required_credit(flow, keeps=keeps)
    if any(is_frame(inlet.type) for inlet in flow.source.inlets()) and not unbounded:
        usual = _FRAME_CREDIT, "the usual for frames"
    elif keeps:
        usual = _STATE_CREDIT, "the usual where state is kept"
    elif unbounded:
        usual = _WINDOW_CREDIT, "the usual where something is held for a time"
    else:
        usual = _DEFAULT_CREDIT, "the usual"
    return max(
        usual, (2 * need, f"twice the {need:,} that batches hold before the last one fills"), key=lambda each: each[0]
    )


def outlets(step: Step) -> list[Outlet[Any]]:
    """The leaves that are written to. A queue can be both a source and a sink, so its place decides."""
    found: list[Outlet[Any]] = []
    for place, (_, inner) in enumerate(step.branches()):
        is_read = isinstance(step, Source) or (isinstance(step, Flow) and place == 0)
        if isinstance(inner, Outlet) and not is_read:
            found.append(inner)
        found += outlets(inner)
    return found
