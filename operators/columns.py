"""`columns`: Polars expressions over all the values that travel together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from warren.core.arrow import frame_of, is_frame
from warren.core.chunk import Chunk, apply_each
from warren.core.errors import EncodeError, GraphError, HandlerError, shorten
from warren.core.graph import Operator
from warren.core.receipt import FILTERED
from warren.core.stage import Handler, Stage
from warren.operators.filter import part
from warren.operators.rows import read_rows
from warren.operators.table import refused, table

if TYPE_CHECKING:
    import polars as pl

__all__ = ["columns"]


def columns(
    *expressions: pl.Expr,
    filter: pl.Expr | None = None,
    select: str | pl.Expr | Sequence[str | pl.Expr] | None = None,
    schema: Mapping[str, Any] | None = None,
    type: Any = None,
) -> Operator[Any, Any]:
    """Compute with Polars: add columns by ``expressions``, keep the rows for which ``filter`` holds, give what is selected.

    They follow in that order, so a filter sees the new columns. Values are structs, dataclasses, named tuples, pydantic
    models or dicts; all that travel together become one frame, and each row goes on as a ``dict``, or as what ``type`` says.
    ``schema`` names the columns with their types, and what is not in it is left out; see `frames`. How many values travel
    together is chance, so every expression must look at one row at a time. A value that is a data frame is computed with as
    it is, and stays one; there the expressions may look at the whole of it.

    Keeps the delivery guarantee: one row for each message, acknowledged with it; a message whose row, or whose every row, is
    filtered out is settled at once. A value that does not fit into a frame with the others fails with `EncodeError`, one for
    whose row an expression raises with that error, one whose row is not of the type with `DecodeError`; the others go on.
    To find out which, expressions are computed again with fewer rows. A frame fails as a whole.

    Raises `GraphError` where there is nothing to do, or an argument is no expression.

    >>> import polars
    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> total = columns((polars.col("n") * polars.col("price")).alias("total"), filter=polars.col("total") > 5)
    >>> given = [{"n": 2, "price": 3.0}, {"n": 1, "price": 4.0}]
    >>> Pipeline("totals", memory.items([]) | total | memory.into([])).test(given).values
    [{'n': 2, 'price': 3.0, 'total': 6.0}]
    """
    import polars as pl

    chosen = [select] if isinstance(select, str | pl.Expr) else select
    if not expressions and filter is None and not chosen:
        raise GraphError("columns(): give expressions that make columns, a filter=, or what to select=")
    for each in (*expressions, *(() if filter is None else (filter,))):
        if not isinstance(each, pl.Expr):
            raise GraphError(f"columns({each!r}): this is no Polars expression; write one such as polars.col('n') * 2")
    if chosen is not None and not (isinstance(chosen, Sequence) and all(isinstance(each, str | pl.Expr) for each in chosen)):
        raise GraphError(f"columns(select={select!r}): give names of columns or Polars expressions")
    if schema is not None and not (isinstance(schema, Mapping) and schema):
        raise GraphError(f"columns(schema={schema!r}): name the columns with their types, such as {{'id': polars.String}}")
    read_rows(type, "")
    return _Columns(expressions, filter, None if chosen is None else tuple(chosen), schema, type)


class _Columns(Operator[Any, Any]):
    def __init__(
        self,
        expressions: Sequence[pl.Expr],
        filter: pl.Expr | None,
        select: Sequence[str | pl.Expr] | None,
        schema: Mapping[str, Any] | None,
        type: Any,
    ) -> None:
        self.expressions = expressions
        self.filter = filter
        self.select = select
        self.schema = schema
        self.type = type

    @property
    def name(self) -> str:
        labels = [each.meta.output_name(raise_if_undetermined=False) or "…" for each in self.expressions]
        labels += ["filter"] if self.filter is not None else []
        labels += ["select"] if self.select else []
        return f"columns({', '.join(labels)})"

    def attach(self, stage: Stage) -> Handler:
        return _Computer(self, stage).take

    def compute(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, Sequence[Any] | None]:
        """What becomes of a frame, and which of its rows were kept; ``None`` for all of them."""
        import polars as pl

        try:
            mask = None
            if self.expressions:
                frame = frame.with_columns(*self.expressions)
            if self.filter is not None:
                mask = frame.select(self.filter.alias("")).to_series()
                if mask.dtype not in (pl.Boolean, pl.Null) or len(mask) != frame.height:
                    raise HandlerError(
                        f"the filter gave {len(mask)} of {mask.dtype} for {frame.height} row(s); it must say true or "
                        "false of each"
                    )
                mask = mask.cast(pl.Boolean).fill_null(False)
                frame = frame.filter(mask)
            if self.select and frame.height:
                height, frame = frame.height, frame.select(*self.select)
                if frame.height != height:
                    raise HandlerError(
                        f"what is selected has {frame.height} row(s) where there were {height}; select expressions that "
                        "give one for each row"
                    )
        except pl.exceptions.PanicException as error:
            # It is no Exception, and would end the pipeline.
            raise ValueError(f"Polars cannot compute this: {error}") from None
        return frame, None if mask is None else mask.to_list()


class _Done(NamedTuple):
    """What became of some records: rows for those that are kept, and the exceptions by position."""

    rows: list[Any]
    mask: Sequence[Any]
    errors: dict[int, Exception]


class _Computer:
    def __init__(self, operator: _Columns, stage: Stage) -> None:
        self.operator = operator
        self.stage = stage
        self.read = read_rows(operator.type, stage)

    def take(self, chunk: Chunk) -> Chunk:
        kinds = set(map(type, chunk.values))
        of_frames = set(filter(is_frame, kinds))
        if not of_frames:
            return self.records(chunk)
        if of_frames == kinds:
            return self.frames(chunk)
        out = Chunk([], [], [], chunk.attempt)
        start = 0
        for whole, run in groupby(chunk.values, lambda value: type(value) in of_frames):
            values = list(run)
            piece = Chunk(values, chunk.tokens[start : start + len(values)], (), chunk.attempt)
            start += len(values)
            done = self.frames(piece) if whole else self.records(piece)
            out.values += done.values
            out.tokens = [*out.tokens, *done.tokens]
            out.failures = [*out.failures, *done.failures]
        return out

    def frames(self, chunk: Chunk) -> Chunk:
        """Values that are data frames."""

        def computed(value: Any) -> Any:
            frame = frame_of(value)
            assert frame is not None
            try:
                return self.operator.compute(frame)[0]
            except HandlerError as error:
                raise HandlerError(f"{self.stage}: {error}") from None

        out = self.stage.survivors(chunk, *apply_each(computed, chunk.values))
        if self.operator.filter is None:
            return out
        kept, dropped = part(out, [frame.height > 0 for frame in out.values])
        self.stage.settle(dropped, FILTERED)
        return kept

    def records(self, chunk: Chunk) -> Chunk:
        """Values that are rows."""
        try:
            done = self.whole(chunk.values)
        except Exception:
            done = self.apart(chunk.values)
        failures = self.stage.failures(chunk, done.errors)
        if done.errors:
            chunk = chunk.select([i not in done.errors for i in range(len(chunk.values))])
        kept, dropped = part(chunk, done.mask)
        self.stage.settle(dropped, FILTERED)
        return Chunk(done.rows, kept.tokens, failures, chunk.attempt)

    def whole(self, values: Sequence[Any]) -> _Done:
        """All at once."""
        frame, mask = self.operator.compute(table(values, self.operator.schema))
        rows, wrong = self.read(frame)
        mask = [True] * len(values) if mask is None else mask
        if not wrong:
            return _Done(rows, mask, {})
        places = [i for i, keep in enumerate(mask) if keep]
        errors = {places[i]: error for i, error in wrong.items()}
        return _Done(rows, [keep for i, keep in enumerate(mask) if i not in errors], errors)

    def apart(self, values: Sequence[Any]) -> _Done:
        """Where some are wrong: without those that do not fit, by halves."""
        errors: dict[int, Exception] = {}
        places = list(range(len(values)))
        while places and (found := refused([values[i] for i in places], self.operator.schema)):
            for i, error in found.items():
                reason = EncodeError(f"{self.stage}: a value cannot be a row of a frame: {error}")
                reason.__cause__ = error
                errors[places[i]] = reason
            places = [i for i in places if i not in errors]
        rows: list[Any] = []
        mask: list[Any] = []

        def halves(places: list[int]) -> None:
            try:
                done = self.whole([values[i] for i in places])
            except Exception as error:
                if len(places) > 1:
                    middle = len(places) // 2
                    halves(places[:middle])
                    halves(places[middle:])
                    return
                if isinstance(error, HandlerError):
                    error = HandlerError(f"{self.stage}: {error}; the value is {shorten(values[places[0]])}")
                errors[places[0]] = error
                return
            rows.extend(done.rows)
            mask.extend(done.mask)
            errors.update((places[i], error) for i, error in done.errors.items())

        if places:
            halves(places)
        return _Done(rows, mask, dict(sorted(errors.items())))
