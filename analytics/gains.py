"""What a model would have gained over the static setting, and how sure that is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from math import inf, sqrt
from typing import NamedTuple

import polars as pl

from warren.core.errors import DataError
from warren.core.policies import Decision

__all__ = ["PARTS", "Gain", "recorded", "surely"]

PARTS = 10
"""In how many parts decisions are cut, to see how much the gain differs between them."""
_LEAST = 50
# The 97.5 % quantile of Student's t with nine degrees of freedom.
_DEVIATIONS = 2.262


class Gain(NamedTuple):
    """How much less it costs with what was learned, as a share of what it costs with the static setting.

    ``share`` is the best guess, ``least`` what it is at least with 97.5 % confidence; 0 and below is no gain. ``usual`` and
    ``matched`` are how many static decisions were looked at, and how many of them were what the model would have done.
    """

    share: float
    least: float
    usual: int
    matched: int

    def proven(self, policy: str, what: str) -> Gain:
        """The gain itself. Raises `DataError` where it is not sure that there is one."""
        if not self.least > 0:
            raise DataError(
                f"{policy} stays in shadow: over {self.usual} {what}, of which {self.matched} were as it would have them, "
                f"it gains {self.share:.0%}, and not surely more than nothing; let it watch for longer, or leave it so"
            )
        return self


def surely(share: Callable[[int | None], float | None], usual: int, matched: int) -> Gain:
    """The gain that ``share`` tells, of all decisions or without one of the parts, by the jackknife.

    >>> surely(lambda without: 0.5, usual=1000, matched=100)
    Gain(share=0.5, least=0.5, usual=1000, matched=100)
    """
    whole = share(None)
    if whole is None or matched < _LEAST:
        return Gain(0.0, -inf, usual, matched)
    left_out = [found for part in range(PARTS) if (found := share(part)) is not None]
    mean = sum(left_out) / len(left_out)
    spread = sqrt((PARTS - 1) / PARTS * sum((found - mean) ** 2 for found in left_out))
    return Gain(whole, whole - _DEVIATIONS * spread, usual, matched)


def recorded(rows: pl.DataFrame) -> Iterator[Decision]:
    """Recorded decisions, such as ``flows.decisions.collect()``, in the order in which they were made; choices are texts.

    >>> from warren.analytics.schema import DECISIONS
    >>> list(recorded(pl.from_arrow(DECISIONS.empty_table())))
    []
    """
    for row in rows.sort("at", "number").select(Decision.__struct_fields__).iter_rows(named=True):
        yield Decision(**{**row, "at": row["at"].timestamp(), "inputs": json.loads(row["inputs"])})
