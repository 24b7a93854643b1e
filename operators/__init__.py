"""The operators: one each file, none knows a broker. Those that other packages add are found here too (docs/plugins.md)."""

import typing

from warren.operators.aggregate import aggregate
from warren.operators.aggregations import (
    collect,
    count,
    custom,
    deviation,
    distinct_count,
    first,
    largest,
    last,
    mean,
    quantile,
    smallest,
    top,
    total,
    variance,
)
from warren.operators.backoff import Backoff, constant, decorrelated, exponential, linear
from warren.operators.batch import batch
from warren.operators.bisect import bisect
from warren.operators.broadcast import broadcast
from warren.operators.budget import budget
from warren.operators.circuit_breaker import circuit_breaker
from warren.operators.columns import columns
from warren.operators.dead_letter import dead_letter
from warren.operators.debounce import debounce
from warren.operators.deduplicate import deduplicate
from warren.operators.delay import delay
from warren.operators.discard import discard
from warren.operators.distinct import distinct
from warren.operators.distinct_until_changed import distinct_until_changed
from warren.operators.encode import encode
from warren.operators.enrich import enrich
from warren.operators.explode import explode
from warren.operators.fallback import fallback
from warren.operators.filter import filter
from warren.operators.flat_map import flat_map
from warren.operators.for_each import for_each
from warren.operators.frames import frames
from warren.operators.join import Pair, join
from warren.operators.join_table import join_table
from warren.operators.map import map
from warren.operators.merge import merge
from warren.operators.retry import retry
from warren.operators.route import route
from warren.operators.rx import rx
from warren.operators.sample import sample
from warren.operators.scan import scan
from warren.operators.split import split
from warren.operators.tap import tap
from warren.operators.throttle import throttle
from warren.operators.timeout import timeout
from warren.operators.validate import validate
from warren.operators.window import Window, hopping, session, tumbling, window

__all__ = [
    "Backoff",
    "Pair",
    "Window",
    "aggregate",
    "batch",
    "bisect",
    "broadcast",
    "budget",
    "circuit_breaker",
    "collect",
    "columns",
    "constant",
    "count",
    "custom",
    "dead_letter",
    "debounce",
    "decorrelated",
    "deduplicate",
    "delay",
    "deviation",
    "discard",
    "distinct",
    "distinct_count",
    "distinct_until_changed",
    "encode",
    "enrich",
    "explode",
    "exponential",
    "fallback",
    "filter",
    "first",
    "flat_map",
    "for_each",
    "frames",
    "hopping",
    "join",
    "join_table",
    "largest",
    "last",
    "linear",
    "map",
    "mean",
    "merge",
    "quantile",
    "retry",
    "route",
    "rx",
    "sample",
    "scan",
    "session",
    "smallest",
    "split",
    "tap",
    "throttle",
    "timeout",
    "top",
    "total",
    "tumbling",
    "validate",
    "variance",
    "window",
]

if not typing.TYPE_CHECKING:  # a type checker would then believe that every name is there

    def __getattr__(name: str) -> typing.Any:
        """The operator that a package adds under a name."""
        if not name.startswith("_"):
            from warren.core import plugins

            if (found := plugins.find("operator", name)) is not None:
                return found
        raise AttributeError(f"module 'warren.operators' has no attribute {name!r}")
