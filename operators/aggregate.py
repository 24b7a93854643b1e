"""`aggregate`: one row of figures for each window, or running figures for each key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable
from itertools import compress
from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

from warren.core.chunk import Chunk, Failure, apply_each
from warren.core.errors import GraphError, HandlerError, shorten
from warren.core.graph import Operator, name_of
from warren.core.stage import Handler, Stage
from warren.core.state import Table
from warren.operators.aggregations import Aggregation, added
from warren.operators.expressions import is_expression
from warren.operators.figures import Figures, Summed
from warren.operators.keys import check_function, unfit_answers, unfit_keys
from warren.operators.windowing import Window

if TYPE_CHECKING:
    import polars as pl

__all__ = ["OfWindows", "aggregate"]

T = TypeVar("T")
Groups: TypeAlias = "defaultdict[Hashable, list[Any]]"


@overload
def aggregate(*, by: None = None, **aggregations: Aggregation[T] | pl.Expr) -> Operator[Window[Any, T], dict[str, Any]]: ...
@overload
def aggregate(*, by: Callable[[T], Hashable], **aggregations: Aggregation[T] | pl.Expr) -> Operator[T, dict[str, Any]]: ...
def aggregate(*, by: Callable[[Any], Hashable] | None = None, **aggregations: Any) -> Operator[Any, dict[str, Any]]:
    """Make one row of each window: a dict with its ``key``, ``start``, ``end`` and one field for each aggregation.

    With ``by``, which takes values that are in no window, keep running figures for each key: every chunk of values gives
    one row with ``key`` and the figures so far for each key in it, in the order the keys first came.

    An aggregation may be a Polars expression that makes one figure of a column, such as ``polars.col("price").mean()``. It
    is computed over a frame of the values, which must then be structs, dataclasses, named tuples, pydantic models or dicts;
    with ``by`` it keeps all of them.

    Keeps the delivery guarantee: the messages of a row are acknowledged when the row is safe. Without
    ``Pipeline(state=...)`` running figures live in memory and start anew when the pipeline is started again. With it they go
    on where they were and a message with an id is counted once; the row of one that is delivered again has the figures as
    they are by then. A message whose key or figure cannot be computed fails, and is not counted.

    Directly behind a `window`, the figures are kept up to date as values come, in place of these: memory and state are as
    large as the number of windows. That is not so where an aggregation needs all values (`collect`, `quantile` and
    `distinct_count` without ``error``, an expression) or cannot be joined where windows are (`custom` without ``merge`` in
    sessions); then, and behind other steps, a value whose figure cannot be computed fails its window. Sums of floats may
    differ between the two in their last digits.

    Raises `GraphError` where there is no aggregation, or one takes the name ``key``, ``start`` or ``end``.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> from warren.operators import count, largest
    >>> longest = aggregate(by=len, words=count(), last=largest())
    >>> Pipeline("longest", memory.items([]) | longest | memory.into([])).test(["on", "it"]).values
    [{'key': 2, 'words': 2, 'last': 'on'}]
    """
    if by is not None:
        check_function(by, "aggregate(by=...)", "give a function of one value that gives its key")
    if not aggregations:
        raise GraphError("aggregate(): give at least one figure, such as aggregate(n=count())")
    for field, aggregation in aggregations.items():
        if field in ("key", "start", "end"):
            raise GraphError(f"aggregate({field}=...): every row has a {field} already; choose another name")
        if not isinstance(aggregation, Aggregation) and not is_expression(aggregation):
            hint = f"{field}={name_of(aggregation)}()" if callable(aggregation) else f"{field}=count()"
            raise GraphError(f"aggregate({field}={aggregation!r}): this is not an aggregation; write {hint}")
    figures = Figures(aggregations)
    return OfWindows(figures) if by is None else _Running(by, figures)


class OfWindows(Operator[Any, dict[str, Any]]):
    """Made by `aggregate` without ``by``."""

    def __init__(self, figures: Figures) -> None:
        self.figures = figures

    def gives(self, type: Any) -> Any:
        """One dict for each window."""
        return dict[str, Any]

    @property
    def name(self) -> str:
        """What errors, drawings and recordings call it."""
        return f"aggregate({', '.join(self.figures.fields)})"

    def attach(self, stage: Stage) -> Handler:
        """Make a row of each window: of its values, or of what the window before has kept in their place."""
        aggregations = self.figures.aggregations

        def column(aggregation: Aggregation[Any], values: list[Any]) -> list[Any]:
            if aggregation.extract is None:
                return values
            found = list(map(aggregation.extract, values))
            for error in unfit_answers(stage, found, values).values():
                raise error
            return found

        def row(window: Any) -> dict[str, Any]:
            if isinstance(window, Summed):
                states = window.states
            elif isinstance(window, Window):
                states = [a.fold(a.initial, column(a, window.values)) for a in aggregations]
            else:
                raise HandlerError(
                    f"{stage}: got {shorten(window)}, which is not a window; put window(...) before it, "
                    "or give by= for running figures"
                )
            return {"key": window.key, "start": window.start, "end": window.end} | self.figures.row(states)

        return lambda chunk: stage.survivors(chunk, *apply_each(row, chunk.values))


class _Running(Operator[Any, dict[str, Any]]):
    def __init__(self, by: Callable[[Any], Hashable], figures: Figures) -> None:
        self.by = by
        self.figures = figures

    def gives(self, type: Any) -> Any:
        return dict[str, Any]

    @property
    def name(self) -> str:
        return f"aggregate({', '.join(self.figures.fields)} by {name_of(self.by)})"

    @property
    def guarantee(self) -> str:
        return "running figures go on after a restart where the pipeline keeps state"

    def attach(self, stage: Stage) -> Handler:
        aggregations = self.figures.aggregations
        # Other figures have another state, so they are not taken for these.
        kept = stage.table(f"aggregate({', '.join(self.figures.fields)})")
        states: Any = {} if kept is None else kept
        # One running total is what most pipelines keep, so it has a loop of its own.
        kind = _Totals if [a.fold for a in aggregations] == [added] else _Table
        keyed = _Keyed(stage, self.by, kind(self.figures, states))
        return keyed.take if kept is None else lambda chunk: keyed.take_once(chunk, kept)


class _Table:
    """The state of every key."""

    def __init__(self, figures: Figures, states: Any) -> None:
        self.figures = figures
        self.states: dict[Hashable, Any] = states
        self.made: dict[Hashable, dict[str, Any]] = {}

    def group(self, keys: list[Any], values: list[Any], columns: list[list[Any]]) -> Groups:
        """What `add` needs, by key. Raises `TypeError` where a key cannot be one."""
        groups: Groups = defaultdict(list)
        for position, key in enumerate(keys):
            groups[key].append(position)
        return groups

    def add(self, groups: Groups, keys: list[Any], values: list[Any], columns: list[list[Any]]) -> dict[int, Exception]:
        """Add what was extracted; give the exceptions by position. A value is added to all figures or to none."""
        extracted = iter(columns)
        columns = [values if a.extract is None else next(extracted) for a in self.figures.aggregations]
        errors: dict[int, Exception] = {}
        for key, positions in groups.items():
            try:
                self.fold(key, columns, positions)
            except Exception:
                # One of them cannot be added: find out which, adding the others.
                for position in positions:
                    try:
                        self.fold(key, columns, [position])
                    except Exception as error:
                        errors[position] = error
        return errors

    def fold(self, key: Hashable, columns: list[list[Any]], positions: list[int]) -> None:
        aggregations = self.figures.aggregations
        states = self.states.get(key) or [a.initial for a in aggregations]
        states = [
            a.fold(state, [column[i] for i in positions])
            for a, state, column in zip(aggregations, states, columns, strict=True)
        ]
        # Before anything is kept: a figure that cannot be made fails the message as one that cannot be added.
        self.made[key] = {"key": key} | self.figures.row(states)
        self.states.update({key: states})

    def rows(self, keys: Iterable[Hashable]) -> list[dict[str, Any]]:
        """A row for each of these keys, to which something has just been added."""
        made, self.made = self.made, {}
        return [made[key] for key in keys]

    def known(self, keys: Iterable[Hashable]) -> list[dict[str, Any]]:
        """A row for each of these keys, as they stand."""
        return [{"key": key} | self.figures.row(self.states[key]) for key in keys]


class _Totals(_Table):
    """The same for a single total, five times as fast."""

    def group(self, keys: list[Any], values: list[Any], columns: list[list[Any]]) -> Groups:
        groups: Groups = defaultdict(list)
        for key, value in zip(keys, columns[0] if columns else values, strict=True):
            groups[key].append(value)
        return groups

    def add(self, groups: Groups, keys: list[Any], values: list[Any], columns: list[list[Any]]) -> dict[int, Exception]:
        before = self.states.get
        try:
            self.states.update({key: sum(group, before(key, 0)) for key, group in groups.items()})
        except Exception:
            # One of them cannot be added, or not by sum: add them one by one, and find out which.
            return self.add_each(keys, columns[0] if columns else values)
        return {}

    def add_each(self, keys: list[Any], column: list[Any]) -> dict[int, Exception]:
        errors: dict[int, Exception] = {}
        for position, (key, value) in enumerate(zip(keys, column, strict=True)):
            try:
                self.states.update({key: self.states.get(key, 0) + value})
            except Exception as error:
                errors[position] = error
        return errors

    def rows(self, keys: Iterable[Hashable]) -> list[dict[str, Any]]:
        field, totals = self.figures.fields[0], self.states
        return [{"key": key, field: totals[key]} for key in keys]

    known = rows


class _Keyed:
    def __init__(self, stage: Stage, by: Callable[[Any], Hashable], table: _Table) -> None:
        self.stage = stage
        self.table = table
        self.functions: list[Callable[[Any], Any]] = [by]
        # The columns that take anything.
        self.asked: list[int] = []
        for aggregation in table.figures.aggregations:
            if aggregation.extract is not None:
                if not aggregation.adds:
                    self.asked.append(len(self.functions))
                self.functions.append(aggregation.extract)

    def take(self, chunk: Chunk) -> Chunk:
        failures: list[Failure] = []
        columns: list[list[Any]] = []
        for function in self.functions:
            column, errors = apply_each(function, chunk.values)
            chunk, columns = self.without(errors, chunk, columns, failures)
            columns.append(column)
        errors = self.unfit([columns[i] for i in self.asked], chunk)
        chunk, columns = self.without(errors, chunk, columns, failures)
        groups = self.grouped(columns, chunk)
        if groups is None:
            errors = unfit_keys(self.stage, columns[0], chunk.values)
            chunk, columns = self.without(errors, chunk, columns, failures)
            groups = self.table.group(columns[0], chunk.values, columns[1:])
        keys, *columns = columns
        distinct: Collection[Hashable] = groups
        errors = self.table.add(groups, keys, chunk.values, columns)
        if errors:
            errors |= self.unfit(columns, chunk)
            chunk, (keys,) = self.without(errors, chunk, [keys], failures)
            distinct = dict.fromkeys(keys)
        if not distinct:
            return Chunk([], (), failures)
        tokens = self.stage.ledger.split(self.stage.ledger.merge([chunk.tokens]), len(distinct))
        return Chunk(self.table.rows(distinct), tokens, failures)

    def take_once(self, chunk: Chunk, kept: Table) -> Chunk:
        """The same where state is kept: what was added before is not added again, but its row may not have been safe."""
        old, fresh = kept.parted(chunk)
        out = self.take(fresh) if fresh.values else Chunk([], ())
        failed = {failure.token for failure in out.failures}
        kept.count([token for token in fresh.tokens if token not in failed] if failed else fresh.tokens)
        if old is None:
            return out
        keys = dict.fromkeys(apply_each(self.functions[0], old.values)[0])
        ledger = self.stage.ledger
        tokens = ledger.split(ledger.merge([old.tokens]), len(keys))
        return Chunk([*self.table.known(keys), *out.values], [*tokens, *out.tokens], out.failures)

    def grouped(self, columns: list[list[Any]], chunk: Chunk) -> Groups | None:
        """What to add, by key; ``None`` where some key cannot be one."""
        try:
            groups = self.table.group(columns[0], chunk.values, columns[1:])
        except Exception:
            return None
        return None if CoroutineType in set(map(type, groups)) else groups

    def unfit(self, columns: list[list[Any]], chunk: Chunk) -> dict[int, Exception]:
        """Why some of what was extracted will not do, by position."""
        return {i: e for column in columns for i, e in unfit_answers(self.stage, column, chunk.values).items()}

    def without(
        self, errors: dict[int, Exception], chunk: Chunk, columns: list[list[Any]], failures: list[Failure]
    ) -> tuple[Chunk, list[list[Any]]]:
        """The chunk and its columns without the values at which there was an exception; those fail."""
        if not errors:
            return chunk, columns
        failures += self.stage.failures(chunk, errors)
        mask = [i not in errors for i in range(len(chunk.values))]
        return chunk.select(mask), [list(compress(column, mask)) for column in columns]
