"""Opening the sources of a pipeline, with the steps that stand before they are merged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import reactivex
from reactivex import Observable

from warren.core.chunk import Chunk
from warren.core.graph import Inlet, Source, Stream
from warren.core.stage import compile_steps
from warren.operators.merge import Merged
from warren.operators.sides import Sides
from warren.pipelines.endpoints import Reader
from warren.pipelines.turns import Turns

if TYPE_CHECKING:
    from warren.pipelines.runtime import Runtime

__all__ = ["opened"]


async def opened(
    run: Runtime, source: Source[Any], readers: list[Reader], turns: Turns, path: str = "", weight: float | None = None
) -> Observable[Chunk]:
    """What a source gives once it is read; its leaves are added to ``readers``."""
    if isinstance(source, Inlet):
        turn = None if weight is None else turns.add(weight)
        reader = Reader(run, source, await run.open_source(source), turn)
        if readers:
            # Two sources may have messages of one id, and their names may be the same.
            namesakes = sum(other.inlet.name == source.name for other in readers)
            run.ledger.scopes[reader] = f"{source.name} {namesakes}: "
        readers.append(reader)
        return reader.chunks
    if isinstance(source, Stream):
        before = len(readers)
        chunks = await opened(run, source.source, readers, turns, path, weight)
        run.sources = readers[before:]
        return compile_steps(run, path, source.steps)(chunks)
    parts = [(label, part) for label, part in source.branches() if isinstance(part, Source)]
    weights = source.weights(weight) if isinstance(source, Merged) else [weight] * len(parts)
    streams: list[Observable[Chunk]] = []
    starts: list[int] = []
    for (label, part), each in zip(parts, weights, strict=True):
        starts.append(len(readers))
        streams.append(await opened(run, part, readers, turns, f"{path}{label}/", each))
    if isinstance(source, Sides) and source.right_first:
        left, right = readers[starts[0] : starts[1]], readers[starts[1] :]
        for reader in left:
            reader.after = [*reader.after, *right]
    return reactivex.merge(*streams)
