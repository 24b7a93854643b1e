"""`frames`: collect values into data frames."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from warren.core.chunk import Chunk
from warren.core.clock import Duration
from warren.core.errors import EncodeError, GraphError
from warren.core.graph import Operator
from warren.core.knobs import Setting
from warren.core.receipt import Token
from warren.core.stage import Handler, Stage
from warren.operators.batch import Batching, Collector
from warren.operators.table import refused, table

if TYPE_CHECKING:
    import polars as pl

__all__ = ["frames"]


def frames(
    count: int | Setting | None = None,
    timeout: Duration | Setting | None = None,
    *,
    by: Callable[[Any], Hashable] | None = None,
    schema: Mapping[str, Any] | None = None,
) -> Operator[Any, pl.DataFrame]:
    """Collect values into Polars data frames of ``count`` rows, or of what came within ``timeout`` of the first.

    Values are structs, dataclasses, named tuples, pydantic models or dicts; their fields are the columns. Whichever limit
    is reached first closes a frame; at shutdown an incomplete one goes on. ``by`` collects separately for each key. The
    limits may be settings that change while it runs, as those of `batch`.

    ``schema`` names the columns with their Polars types; what is not in it is left out. Without one, the type hints of the
    values' class say the types, and where they do not (and for dicts), what came: a column in which everything is missing
    then has the type ``Null``.

    Keeps the delivery guarantee: the messages of a frame are acknowledged together, after everything made of it is safe. A
    value that does not fit into its frame fails alone, with `EncodeError`. To join frames that are there already, write
    ``batch(size=10_000, measure=len) | map(polars.concat)``.

    Raises `GraphError` where no limit is given or one is not positive; the pipeline is refused where ``count`` exceeds
    its credit.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> flow = memory.items([]) | frames(2) | memory.into([])
    >>> [frame.to_dict(as_series=False) for frame in Pipeline("pairs", flow).test([{"n": 1}, {"n": 2}, {"n": 3}]).values]
    [{'n': [1, 2]}, {'n': [3]}]
    """
    if schema is not None and not (isinstance(schema, Mapping) and schema):
        raise GraphError(f"frames(schema={schema!r}): name the columns with their types, such as {{'id': polars.String}}")
    return _Frames(count, timeout, by, schema)


class _Frames(Batching):
    def __init__(
        self,
        count: int | Setting | None,
        timeout: Duration | Setting | None,
        by: Callable[[Any], Hashable] | None,
        schema: Mapping[str, Any] | None,
    ) -> None:
        super().__init__("frames", count, timeout, by=by)
        self.schema = schema

    def gives(self, type: Any) -> Any:
        import polars as pl

        return pl.DataFrame

    def attach(self, stage: Stage) -> Handler:
        return _Tables(self, stage, self.schema).take


class _Tables(Collector):
    def __init__(self, operator: Batching, stage: Stage, schema: Mapping[str, Any] | None) -> None:
        super().__init__(operator, stage)
        self.schema = schema

    def finish(self, values: list[Any], segments: list[Sequence[Token]], into: Chunk) -> None:
        try:
            frame = table(values, self.schema)
            into.values.append(frame)
            into.tokens = [*into.tokens, self.stage.ledger.merge(segments, frame)]
            return
        except Exception as error:
            tokens = list(chain.from_iterable(segments))
            errors = refused(values, self.schema)
            if not errors:
                errors = dict.fromkeys(range(len(values)), error)
        into.failures = [*into.failures, *(self._failure(tokens[i], values[i], error) for i, error in errors.items())]
        rest = [i for i in range(len(values)) if i not in errors]
        if rest:
            self.finish([values[i] for i in rest], [[tokens[i] for i in rest]], into)

    def _failure(self, token: Token, value: Any, error: Exception) -> Any:
        reason = EncodeError(f"{self.stage}: a value cannot be a row of a frame: {error}")
        reason.__cause__ = error
        return self.stage.failure(token, value, reason)
