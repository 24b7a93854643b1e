"""`merge`: several sources as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from typing import Any, TypeVar, overload

from warren.core.errors import GraphError
from warren.core.graph import Source, Step

__all__ = ["Merged", "merge"]

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")


@overload
def merge(a: Source[A], /, *, priorities: Sequence[float] | None = ...) -> Source[A]: ...
@overload
def merge(a: Source[A], b: Source[B], /, *, priorities: Sequence[float] | None = ...) -> Source[A | B]: ...
@overload
def merge(a: Source[A], b: Source[B], c: Source[C], /, *, priorities: Sequence[float] | None = ...) -> Source[A | B | C]: ...
@overload
def merge(
    a: Source[A], b: Source[B], c: Source[C], d: Source[D], /, *, priorities: Sequence[float] | None = ...
) -> Source[A | B | C | D]: ...
@overload
def merge(*sources: Source[T], priorities: Sequence[float] | None = ...) -> Source[T]: ...
def merge(*sources: Source[Any], priorities: Sequence[float] | None = None) -> Source[Any]:
    """Read several sources at the same time, as one. Each keeps its order; between them there is none.

    With ``priorities``, one for each source, they share what can be read: of ``priorities=[9, 1]`` the first gives nine of
    ten messages while both have some, and either of them all of them while the other has none. So no source waits for ever.
    How much is read at once depends on the credit and the size of messages: the shares hold over several reads.

    Keeps the delivery guarantee: each message is acknowledged where it came from.

    Raises `GraphError` where there is no source, something is not one, or the priorities are not one number above zero for
    each.

    >>> from warren.connectors import memory
    >>> [label for label, _ in merge(memory.items([1]), memory.items([2])).branches()]
    ['1', '2']
    """
    if not sources:
        raise GraphError("merge(): give the sources to read from, such as merge(a, b)")
    for source in sources:
        if not isinstance(source, Source):
            raise GraphError(f"merge({source!r}): this is not a source; operators go behind: merge(a, b | clean) | enrich")
    if priorities is not None:
        right = isinstance(priorities, Sequence) and all(
            isinstance(each, int | float) and not isinstance(each, bool) and 0 < each < inf for each in priorities
        )
        if not right or len(priorities) != len(sources):
            raise GraphError(
                f"merge(priorities={priorities!r}): give one number above zero for each of the {len(sources)} source(s), "
                "such as [9, 1]"
            )
    return Merged(sources, priorities)


class Merged(Source[T]):
    """Several sources as one; made by `merge`."""

    def __init__(self, sources: tuple[Source[T], ...], priorities: Sequence[float] | None = None) -> None:
        self.sources = sources
        self.priorities = None if priorities is None else tuple(priorities)

    @property
    def name(self) -> str:
        """What errors, drawings and recordings call it."""
        return f"merge({', '.join(source.name for source in self.sources)})"

    def branches(self) -> Iterator[tuple[str, Step]]:
        """Its sources, numbered from 1."""
        yield from ((str(number), source) for number, source in enumerate(self.sources, 1))

    @property
    def guarantee(self) -> str:
        """In what proportion its sources are read."""
        return "" if self.priorities is None else f"read {':'.join(f'{each:g}' for each in self.priorities)}"

    def weights(self, share: float | None) -> list[float | None]:
        """What part of the reading each source has, where the merge has that share; ``None`` without priorities."""
        if self.priorities is None:
            return [None if share is None else share / len(self.sources)] * len(self.sources)
        return [(share or 1.0) * each / sum(self.priorities) for each in self.priorities]
