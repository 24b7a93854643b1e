"""`bisect`: a function over data frames of which one bad row must not fail the others."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from warren.core.arrow import frame_of
from warren.core.chunk import Chunk, Failure, apply_each
from warren.core.errors import GraphError
from warren.core.graph import Operator, name_of
from warren.core.hints import returned
from warren.core.receipt import Merge, Token
from warren.core.stage import Handler, Stage
from warren.operators.rows import Rows

if TYPE_CHECKING:
    import polars as pl

__all__ = ["bisect"]

T = TypeVar("T")
U = TypeVar("U")


def bisect(function: Callable[[T], U]) -> Operator[T, U]:
    """Call a function for each data frame; where it raises, for its halves, until what fails stands alone.

    What the good parts give goes on, part by part; each bad row fails by itself, and is retried and dead-lettered as after
    `explode`. A function that raises is called again with fewer rows, so it must do nothing that may not be done twice.

    Keeps the delivery guarantee: the message of a frame is acknowledged with the last of its parts. Of a frame that `frames`
    made right before, the messages of bad rows fail and the others do not. Values other than frames fail as in `map`.

    Raises `GraphError` for an ``async`` function.

    >>> import polars
    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> def parse(frame: polars.DataFrame) -> polars.DataFrame:
    ...     return frame.select(polars.col("n").cast(polars.Int64))
    >>> flow = memory.items([]) | bisect(parse) | memory.into([])
    >>> result = Pipeline("parsed", flow).test([polars.DataFrame({"n": ["1", "2", "x"]})])
    >>> [frame["n"].to_list() for frame in result.values], result.dead_letters["parsed.dead"][0].value.rows()
    ([[1], [2]], [('x',)])
    """
    name = name_of(function)
    if not callable(function):
        raise GraphError(f"bisect({function!r}): give a function of one data frame")
    if inspect.iscoroutinefunction(function):
        raise GraphError(f"bisect({name}): the function must not be async; write explode() | map({name})")
    return _Bisect(function)


class _Part(NamedTuple):
    start: int
    stop: int
    answer: Any
    error: Exception | None


class _Bisect(Operator[Any, Any]):
    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def gives(self, type: Any) -> Any:
        return returned(self.function)

    @property
    def name(self) -> str:
        return f"bisect({name_of(self.function)})"

    @property
    def guarantee(self) -> str:
        return "acknowledged with the last of its parts"

    def attach(self, stage: Stage) -> Handler:
        def handle(chunk: Chunk) -> Chunk:
            answers, errors = apply_each(self.function, chunk.values)
            if not errors:
                return Chunk(answers, chunk.tokens, (), chunk.attempt)
            values: list[Any] = []
            tokens: list[Token] = []
            failures: list[Failure] = []
            good = iter(answers)
            for i, (value, token) in enumerate(zip(chunk.values, chunk.tokens, strict=True)):
                if i not in errors:
                    values.append(next(good))
                    tokens.append(token)
                    continue
                frame = frame_of(value)
                if frame is None or frame.height < 2:
                    failures.append(stage.failure(token, value, errors[i], chunk.attempt))
                    continue
                parts = self.halves(value, 0, frame.height)
                for part, each in zip(parts, _tokens(stage, token, value, frame, parts), strict=True):
                    if part.error is None:
                        values.append(part.answer)
                        tokens.append(each)
                    else:
                        rows = value.slice(part.start, part.stop - part.start)
                        failures.append(stage.failure(each, rows, part.error, chunk.attempt))
            return Chunk(values, tokens, failures, chunk.attempt)

        return handle

    def halves(self, value: Any, start: int, stop: int) -> list[_Part]:
        """What the function answers for the halves of a frame for which it raised."""
        parts: list[_Part] = []
        middle = (start + stop) // 2
        for a, b in ((start, middle), (middle, stop)):
            try:
                parts.append(_Part(a, b, self.function(value.slice(a, b - a)), None))
            except Exception as error:
                parts += [_Part(a, b, None, error)] if b - a == 1 else self.halves(value, a, b)
        return parts


def _tokens(stage: Stage, token: Token, value: Any, frame: pl.DataFrame, parts: list[_Part]) -> Sequence[Token]:
    """A token for each part of a frame."""
    if isinstance(token, Merge) and token.rows is value:
        messages = list(chain.from_iterable(token.segments))
        if len(messages) == frame.height:
            return [stage.ledger.merge([messages[part.start : part.stop]]) for part in parts]
    bounds = [part.start for part in parts] + [frame.height]
    return stage.ledger.split(token, len(parts), Rows(frame, bounds))
