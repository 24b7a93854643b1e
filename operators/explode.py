"""`explode`: a data frame in, its rows out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from warren.core.arrow import frame_of
from warren.core.chunk import Chunk, Failure, apply_each
from warren.core.errors import HandlerError, shorten
from warren.core.graph import Operator
from warren.core.receipt import FILTERED, Token
from warren.core.stage import Handler, Stage
from warren.operators.rows import Rows, read_rows

if TYPE_CHECKING:
    import polars as pl

__all__ = ["explode"]

T = TypeVar("T")


@overload
def explode(type: None = None) -> Operator[Any, dict[str, Any]]: ...
@overload
def explode(type: type[T]) -> Operator[Any, T]: ...
@overload
def explode(type: Any) -> Operator[Any, Any]: ...
def explode(type: Any = None) -> Operator[Any, Any]:
    """Take data frames apart: each row goes on as a value of its own, a ``dict`` or what ``type`` says.

    The type may be anything that messages are decoded to: a struct, a dataclass, a TypedDict, a pydantic model.

    Keeps the delivery guarantee: the message is acknowledged when the last of its rows is safe. Rows fail, are retried and
    are dead-lettered one by one: the letter is that row alone, as the message has it, with ``warren-row`` beside the
    message's headers, and can be sent to the same queue again. That is so while the steps before `explode` only filter,
    sort or add columns; where they make other rows, the letter is the whole message.

    A row that does not fit the type fails with `DecodeError`, the others go on. A retry that is parked with the broker
    takes the whole message there.

    Raises `GraphError` for a type that nothing can be read as.

    >>> import polars
    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> from warren.operators import map
    >>> flow = memory.items([]) | explode() | map(lambda row: 6 / row["n"]) | memory.into([])
    >>> result = Pipeline("rows", flow).test([polars.DataFrame({"n": [1, 0, 3]})])
    >>> result.values, result.dead_letters["rows.dead"][0].value.rows()
    ([6.0, 2.0], [(0,)])
    """
    read_rows(type, "")
    return _Explode(type)


class _Explode(Operator[Any, Any]):
    def __init__(self, type: Any) -> None:
        self.type = type

    def gives(self, type: Any) -> Any:
        return Any if self.type is None else self.type

    @property
    def name(self) -> str:
        return "explode" if self.type is None else f"explode({getattr(self.type, '__name__', self.type)})"

    @property
    def guarantee(self) -> str:
        return "acknowledged with the last of its rows"

    @property
    def spreads(self) -> bool:
        return True

    def attach(self, stage: Stage) -> Handler:
        read = read_rows(self.type, stage)

        def frame(value: Any) -> pl.DataFrame:
            found = frame_of(value)
            if found is None:
                raise HandlerError(
                    f"{stage}: got {shorten(value)}, which is no data frame; give the source type=polars.DataFrame, or take "
                    "lists apart with flat_map(list)"
                )
            return found

        def handle(chunk: Chunk) -> Chunk:
            left = stage.survivors(chunk, *apply_each(frame, chunk.values))
            values: list[Any] = []
            tokens: list[Token] = []
            empty: list[Token] = []
            failures: list[Failure] = list(left.failures)
            for token, whole in zip(left.tokens, left.values, strict=True):
                if not whole.height:
                    empty.append(token)
                    continue
                rows, errors = read(whole)
                parts = stage.ledger.split(token, whole.height, Rows(whole))
                values += rows
                tokens += parts if not errors else [part for i, part in enumerate(parts) if i not in errors]
                failures += [stage.failure(parts[i], whole.slice(i, 1), e, chunk.attempt) for i, e in errors.items()]
            stage.settle(empty, FILTERED)
            return Chunk(values, tokens, failures, chunk.attempt)

        return handle
