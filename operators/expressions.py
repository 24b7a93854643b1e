"""Polars expressions as aggregations."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from warren.core.errors import HandlerError
from warren.operators.aggregations import Aggregation
from warren.operators.table import table

if TYPE_CHECKING:
    import polars as pl

__all__ = ["is_expression", "of_frame"]


def is_expression(value: object) -> bool:
    """Whether something is a Polars expression; Polars is not imported to find out.

    >>> import polars
    >>> is_expression(polars.col("n")), is_expression(1)
    (True, False)
    """
    # Whoever made an expression has imported Polars.
    polars = sys.modules.get("polars")
    return polars is not None and isinstance(value, polars.Expr)


def of_frame(expressions: Mapping[str, pl.Expr]) -> Aggregation[Any]:
    """What Polars expressions make of a frame of all values, as a dict: one figure each; keeps every value in memory."""
    import polars as pl

    def result(values: list[Any]) -> dict[str, Any]:
        frame = table(values, None)
        try:
            found = frame.select(**expressions)
            if found.height != 1:
                name, many = next((name, n) for name, e in expressions.items() if (n := frame.select(e).height) != 1)
                raise HandlerError(
                    f"aggregate: the expression for {name} gave {many} of {frame.height} values; it must make one figure of "
                    "them, as .mean() does"
                )
        except pl.exceptions.PanicException as error:
            # It is no Exception, and would end the pipeline.
            raise ValueError(f"Polars cannot compute this: {error}") from None
        return found.row(0, named=True)

    return Aggregation([], lambda values, column: values + column, result, merge=lambda a, b: a + b, grows=True)
