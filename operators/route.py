"""`route`: send each value down one of several branches."""

from __future__ import annotations

import inspect
import typing
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, overload

from warren.core.chunk import Chunk, apply_each
from warren.core.errors import GraphError, HandlerError, UnroutableError, shorten
from warren.core.graph import Operator, Sink, Step, name_of
from warren.core.stage import Handler, Stage
from warren.operators.branches import Branching, Entry, checked, ended_if_closed
from warren.operators.dead_letter import DeadLetter

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

        def target(value: Any) -> Any:
            label = choose(value)
            try:
                entry = named.get(label, default)
            except TypeError:
                raise HandlerError(f"{stage}: the answer {shorten(label)} is no label; answer one of {names}") from None
            if entry is default and inspect.iscoroutine(label):
                label.close()
                raise HandlerError(f"{stage}: the answer for {shorten(value)} is a coroutine; answer one of {names}")
            if entry is None:
                raise UnroutableError(f"{stage}: no branch is called {shorten(label)}; there are {names}, and no default")
            return entry

        def handle(chunk: Chunk) -> Chunk | None:
            found, errors = apply_each(target, chunk.values)
            failures = stage.failures(chunk, errors)
            if errors:
                chunk = chunk.select([i not in errors for i in range(len(chunk.values))])
            if found:
                if found.count(found[0]) == len(found):
                    found[0](Chunk(chunk.values, chunk.tokens, (), chunk.attempt))
                else:
                    _deal(found, chunk)
            return Chunk([], (), failures) if errors else None

        return handle


def _deal(found: Sequence[Callable[[Chunk], None]], chunk: Chunk) -> None:
    hands: defaultdict[Callable[[Chunk], None], list[int]] = defaultdict(list)
    for place, entry in enumerate(found):
        hands[entry].append(place)
    values, tokens = chunk.values, chunk.tokens
    for entry, places in hands.items():
        entry(Chunk([values[place] for place in places], [tokens[place] for place in places], (), chunk.attempt))
