"""`merge`: several sources as one."""

from __future__ import annotations

from collections.abc import Iterator
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
    """Read several sources at the same time, as one. Each keeps its order; between them there is none.

    Keeps the delivery guarantee: each message is acknowledged where it came from.

    Raises `GraphError` where there is no source, or something is not one.

    >>> from warren.connectors import memory
    >>> [label for label, _ in merge(memory.items([1]), memory.items([2])).branches()]
    ['1', '2']
    """
    if not sources:
        raise GraphError("merge(): give the sources to read from, such as merge(a, b)")
    for source in sources:
        if not isinstance(source, Source):
            raise GraphError(f"merge({source!r}): this is not a source; operators go behind: merge(a, b | clean) | enrich")
    return Merged(sources)


class Merged(Source[T]):
    """Several sources as one; made by `merge`."""

    def __init__(self, sources: tuple[Source[T], ...]) -> None:
        self.sources = sources

    @property
    def name(self) -> str:
        """What errors, drawings and recordings call it."""
        return f"merge({', '.join(source.name for source in self.sources)})"

    def branches(self) -> Iterator[tuple[str, Step]]:
        """Its sources, numbered from 1."""
        yield from ((str(number), source) for number, source in enumerate(self.sources, 1))
