"""`join_table`: values of a stream, each with the newest row of a table that has its key."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import compress
from typing import Any, Literal, TypeVar, overload

from warren.core.chunk import Chunk
from warren.core.errors import GraphError
from warren.core.graph import Source
from warren.core.receipt import FILTERED, Kind, Outcome
from warren.core.stage import Handler, Stage
from warren.operators.keys import answers, check_function, keys_of, left_of
from warren.operators.pairs import Pair
from warren.operators.sides import LEFT, RIGHT, Joining, Sides, both

__all__ = ["join_table"]

K = TypeVar("K", bound=Hashable)
L = TypeVar("L")
R = TypeVar("R")

_TAKEN = Outcome(Kind.DELIVERED, "table")


@overload
def join_table(
    stream: Source[L],
    table: Source[R],
    *,
    on: Callable[[L | R], K] | tuple[Callable[[L], K], Callable[[R], K]],
    how: Literal["inner"] = ...,
    gone: Callable[[R], bool] | None = ...,
    version: int = ...,
    migrate: Callable[[K, Any], R] | None = ...,
) -> Source[Pair[K, L, R]]: ...
@overload
def join_table(
    stream: Source[L],
    table: Source[R],
    *,
    on: Callable[[L | R], K] | tuple[Callable[[L], K], Callable[[R], K]],
    how: Literal["left"],
    gone: Callable[[R], bool] | None = ...,
    version: int = ...,
    migrate: Callable[[K, Any], R] | None = ...,
) -> Source[Pair[K, L, R | None]]: ...
def join_table(
    stream: Source[Any],
    table: Source[Any],
    *,
    on: Any,
    how: Literal["inner", "left"] = "inner",
    gone: Callable[[Any], bool] | None = None,
    version: int = 1,
    migrate: Callable[[Any, Any], Any] | None = None,
) -> Source[Pair[Any, Any, Any]]:
    """A stream whose values each go on as a `Pair` with the row of a table that has their key.

    The table is a source of rows, of which the newest of a key counts; one of which ``gone`` says yes takes the row of its
    key away. ``on`` gives the key: one function for both, or a pair of them. As in SQL, ``None`` as a key is equal to no
    other. A value without a row is filtered out, or goes on with ``None`` with ``how="left"``.

    A table that ends, such as a file, is read to its end before the stream, anew in each run. Of any other, such as a queue
    of changes, the row counts that is there when the value comes. It lives in memory, so that it starts anew with the
    pipeline; with ``Pipeline(state=...)`` it is kept, and its messages are acknowledged when a checkpoint has them. Raise
    ``version`` when rows change their shape, and give ``migrate(key, row)``, which makes a new row of an old one.

    Keeps the delivery guarantee and the order of the stream. A message whose key cannot be told fails.

    Raises `GraphError` where a side is no source, both read one queue, or an option is not what it should be.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> names = memory.items([(1, "Ada"), (2, "Grace")])
    >>> calls, out = memory.items([(2, "12:00"), (3, "12:05")]), []
    >>> Pipeline("calls", join_table(calls, names, on=lambda each: each[0], how="left") | memory.into(out)).run()
    >>> [(pair.left, pair.right) for pair in out]
    [((2, '12:00'), (2, 'Grace')), ((3, '12:05'), None)]
    """
    if how not in ("inner", "left"):
        raise GraphError(f"join_table(how={how!r}): write how='inner' or how='left'")
    functions = both(on, "join_table(on=...)")
    if gone is not None:
        check_function(gone, "join_table(gone=...)", "give a function of a row that says whether it takes the row away")
    sides = Sides("join_table", stream=stream, table=table)
    sides.right_first = all(inlet.bounded for inlet in table.inlets())
    return sides | _JoinTable(functions, how == "left", gone, version, migrate, keeps=not sides.right_first)


class _JoinTable(Joining):
    def __init__(
        self,
        on: Sequence[Callable[[Any], Hashable]],
        outer: bool,
        gone: Callable[[Any], bool] | None,
        version: int,
        migrate: Callable[[Any, Any], Any] | None,
        *,
        keeps: bool,
    ) -> None:
        self.on = on
        self.outer = outer
        self.gone = gone
        self.version = version
        self.migrate = migrate
        self.keeps = keeps

    @property
    def name(self) -> str:
        return f"join_table({'left' if self.outer else 'inner'})"

    @property
    def guarantee(self) -> str:
        kept = "the table goes on after a restart where the pipeline keeps state"
        return kept if self.keeps else "the table is read first"

    def handlers(self, stage: Stage) -> tuple[Handler, Handler]:
        table = stage.table("join_table", version=self.version, migrate=self.migrate) if self.keeps else None
        rows: dict[Hashable, Any] = {} if table is None else table

        def look_up(chunk: Chunk) -> Chunk:
            keys, chunk, failures = keys_of(stage, self.on[LEFT], chunk, "on")
            known = list(map(rows.__contains__, keys))
            if not self.outer and not all(known):
                stage.settle(chunk.select([not each for each in known]).tokens, FILTERED)
                keys, chunk = list(compress(keys, known)), chunk.select(known)
            return Chunk(list(map(Pair, keys, chunk.values, map(rows.get, keys))), chunk.tokens, failures, chunk.attempt)

        def change(chunk: Chunk) -> Chunk:
            if table is not None:
                counted, chunk = table.parted(chunk)
                if counted is not None:
                    stage.settle(counted.tokens, _TAKEN)
            keys, chunk, failures = keys_of(stage, self.on[RIGHT], chunk, "on")
            removed: list[Hashable] = []
            if self.gone is not None:
                told, rest, more = answers(stage, self.gone, chunk)
                keys, chunk = left_of(keys, chunk, rest), rest
                failures += more
                removed = [key for key, gone in dict(zip(keys, told, strict=True)).items() if gone]
            changes = dict(zip(keys, chunk.values, strict=True))
            for key in (None, *removed):
                changes.pop(key, None)
            rows.update(changes)
            if table is not None:
                table.remove(removed)
                table.count(chunk.tokens)
            else:
                for key in removed:
                    rows.pop(key, None)
            stage.settle(chunk.tokens, _TAKEN)
            return Chunk([], (), failures)

        return look_up, change
