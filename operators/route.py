"""`route`: send each value down one of several branches."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, overload

from warren.core.chunk import Chunk, apply_each
from warren.core.errors import GraphError, HandlerError, UnroutableError, shorten
from warren.core.graph import Operator, Sink, Step, name_of
from warren.core.policies import Chooser, Reading
from warren.core.shares import dealt
from warren.core.stage import Handler, Stage
from warren.operators.branches import Branching, Entry, checked, ended_if_closed
from warren.operators.dead_letter import DeadLetter
from warren.operators.sent import Asked

__all__ = ["route"]

T = TypeVar("T")
U = TypeVar("U")


@overload
def route(  # type: ignore[overload-overlap]  # where every branch is a sink, so is the route
    choose: Callable[[T], Hashable],
    targets: Mapping[Any, Sink[T] | DeadLetter] | None = ...,
    *,
    default: Sink[T] | DeadLetter | None = ...,
    **branches: Sink[T] | DeadLetter,
) -> Sink[T]: ...
@overload
def route(
    choose: Callable[[T], Hashable],
    targets: Mapping[Any, Operator[T, U] | Sink[T]] | None = ...,
    *,
    default: Operator[T, U] | Sink[T] | None = ...,
    **branches: Operator[T, U] | Sink[T],
) -> Operator[T, U]: ...
def route(
    choose: Callable[[Any], Hashable],
    targets: Mapping[Any, Any] | None = None,
    *,
    default: Any = None,
    **branches: Any,
) -> Any:
    """Send each value down the branch whose name ``choose`` answers, or down ``default``.

    Branches are given by name, or in a mapping for labels that are no Python names. Where every branch ends in a sink the
    route is a sink; otherwise what its open branches give goes on. A bare ``dead_letter(name)`` as a branch takes whatever
    arrives there.

    ``choose`` may also be a `Chooser`, such as `EarliestFinish`: it is told what became of the values, and, where it wants
    to know, how deep the queues are that branches write to.

    Keeps the delivery guarantee: each message follows one branch and is acknowledged at that branch's end. With no branch
    and no default a message fails with `UnroutableError`.

    Raises `GraphError` where there is no branch, a branch is neither an operator nor a sink, or the return type of
    ``choose`` is a ``Literal`` with a value that leads nowhere, or ``choose`` is ``async``.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> small, large = memory.queue("small"), memory.queue("large")
    >>> sizes = memory.items([]) | route(lambda n: "small" if n < 10 else "large", small=small, large=large)
    >>> Pipeline("sizes", sizes).test([1, 20]).outputs
    {'memory:small': [1], 'memory:large': [20]}
    """
    named = {**(targets or {}), **branches}
    if not callable(choose):
        raise GraphError(f"route({choose!r}): give a function that answers a branch's name")
    title = f"route({name_of(choose)})"
    if inspect.iscoroutinefunction(choose):
        raise GraphError(f"{title}: the function must not be async; look things up with map first, then route")
    if not named and default is None:
        raise GraphError(f"{title} leads nowhere: name at least one branch, such as eu=rabbitmq.exchange('billing.eu')")
    steps = checked(named, title)
    rest = None if default is None else checked({"default": default}, title)["default"]
    if rest is None:
        _check_labels(choose, named, title)
    return ended_if_closed(Route(choose, steps, rest))


def _check_labels(choose: Callable[..., Any], named: Mapping[Any, Any], title: str) -> None:
    try:
        answer = typing.get_type_hints(choose).get("return")
    except (NameError, TypeError):
        return
    if typing.get_origin(answer) is typing.Literal:
        for label in typing.get_args(answer):
            if label not in named:
                raise GraphError(f"{title} can answer {label!r}, which leads nowhere: add that branch or a default")


class Route(Branching):
    """Made by `route`."""

    def __init__(self, choose: Callable[[Any], Hashable], named: Mapping[Any, Step], default: Step | None) -> None:
        super().__init__(named)
        self.choose = choose
        self.default = default

    @property
    def name(self) -> str:
        """What errors, drawings and recordings call it."""
        return f"route({name_of(self.choose)})"

    def branches(self) -> Iterator[tuple[str, Step]]:
        """Its branches by label; the default last."""
        yield from super().branches()
        if self.default is not None:
            yield "default", self.default

    def handler(self, stage: Stage, entries: list[Entry]) -> Handler:
        """Ask for each value which branch it enters."""
        default = None if self.default is None else entries[-1]
        named = dict(zip(self.named, entries, strict=False))
        choose, names = self.choose, ", ".join(map(repr, named))
        chooser: object = choose
        ask = Asked(chooser, list(self.named), stage) if isinstance(chooser, Chooser) else None
        if isinstance(chooser, Reading) and chooser.every is not None:
            for label, branch in self.named.items():
                stage.run.on_depth(branch, chooser.every, partial(chooser.reading, label))

        def target(label: Any, value: Any = None) -> Entry:
            try:
                entry: Entry | None = named.get(label, default)
            except TypeError:
                raise HandlerError(f"{stage}: the answer {shorten(label)} is no label; answer one of {names}") from None
            if entry is default and inspect.iscoroutine(label):
                label.close()
                raise HandlerError(f"{stage}: the answer for {shorten(value)} is a coroutine; answer one of {names}")
            if entry is None:
                raise UnroutableError(f"{stage}: no branch is called {shorten(label)}; there are {names}, and no default")
            return entry

        def handle(chunk: Chunk) -> Chunk | None:
            labels, errors = apply_each(choose, chunk.values) if ask is None else ask(chunk)
            if errors:
                chunk = stage.without(chunk, errors)
            failures = chunk.failures
            try:
                ways = {label: target(label) for label in set(labels)}
            except Exception:
                # Some lead nowhere; only those fail.
                if ask is not None:
                    ask.scatter()
                found, errors = apply_each(lambda pair: target(*pair), list(zip(labels, chunk.values, strict=True)))
                labels = [label for i, label in enumerate(labels) if i not in errors]
                chunk = stage.without(chunk, errors)
                failures = [*failures, *chunk.failures]
                ways = dict(zip(labels, found, strict=True))
            _deal(chunk, labels, ways, entries, ask)
            return Chunk([], (), failures) if failures else None

        return handle


def _deal(
    chunk: Chunk, labels: Sequence[Hashable], ways: Mapping[Hashable, Entry], entries: Sequence[Entry], asked: Asked | None
) -> None:
    """Give each way, in the order of the branches, the values whose labels lead there."""
    taken = set(ways.values())
    hands: dict[Entry, list[Any]] = {way: [] for way in entries if way in taken}
    if len(hands) == 1:
        hands = dict.fromkeys(hands, chunk.values)
    else:
        hand_of = {label: hands[way] for label, way in ways.items()}
        if asked is not None and (pieces := asked.pieces):
            for label, places in pieces:
                hand_of[label] += chunk.values[places.start : places.stop]
        else:
            for label, value in zip(labels, chunk.values, strict=False):
                hand_of[label].append(value)
    for way, values in hands.items():
        mine = {label for label, each in ways.items() if each == way}
        tokens = dealt(chunk.tokens, labels, mine, len(values))
        if asked is not None:
            asked.went(tokens, mine)
        way(Chunk(values, tokens, (), chunk.attempt))
