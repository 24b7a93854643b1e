"""merge: several sources as one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar, overload

from warren.core.errors import GraphError, shorten
from warren.core.graph import Source, Step

__all__ = ["Merged", "merge"]

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")


class Merged(Source[T]):
    """Several sources read at the same time, as one; made by `merge`."""

    def __init__(self, sources: tuple[Source[T], ...]) -> None:
        if not sources:
            raise GraphError("merge needs at least one source: merge(a, b)")
        for source in sources:
            if not isinstance(source, Source):
                raise GraphError(
                    f"merge cannot read from {shorten(source)}: give it sources, and put operators behind: "
                    "merge(a, b | clean) | ..."
                )
        self.sources = sources

    @property
    def name(self) -> str:
        """``merge(a, b)``."""
        return f"merge({', '.join(source.name for source in self.sources)})"

    def branches(self) -> Iterator[tuple[str, Step]]:
        """Its sources, numbered from 1."""
        yield from ((str(number), source) for number, source in enumerate(self.sources, 1))


@overload
def merge(a: Source[A], /) -> Source[A]: ...
@overload
def merge(a: Source[A], b: Source[B], /) -> Source[A | B]: ...
@overload
def merge(a: Source[A], b: Source[B], c: Source[C], /) -> Source[A | B | C]: ...
@overload
def merge(a: Source[A], b: Source[B], c: Source[C], d: Source[D], /) -> Source[A | B | C | D]: ...
@overload
def merge(*sources: Source[T]) -> Source[T]: ...
def merge(*sources: Source[Any]) -> Source[Any]:
    """Read several sources at the same time, as one. Each source keeps its order; between them there is none.

    Delivery: kept. Each message is acknowledged where it came from.

    Raises `GraphError` where there is no source, or something is not one.

    >>> from warren.connectors import memory
    >>> from warren.operators import merge
    >>> merge(memory.queue("eu"), memory.queue("us")).name
    'merge(memory:eu, memory:us)'
    """
    return Merged(sources)
