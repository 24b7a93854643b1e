"""What the operators cost: one by one, as whole pipelines, and with their state in a file.

Every side uses the same decoder and the same functions, and what it gives is compared with a plain computation, so no side
can be fast by being wrong. Of the sums by key the rivals stand in the fastest form their documentation offers, elsewhere in
the plain one; the README says which were tried.

The pieces are in `benchmarks.steps`; `benchmarks.steps.growth` and `benchmarks.steps.soak` have a command of their own.
"""

from __future__ import annotations

import sys

from benchmarks.harness import Benchmark, main
from benchmarks.steps import joins, keyed, single, sums, whole

__all__ = ["BENCHMARK"]

BENCHMARK = Benchmark(
    "operators",
    cases=[*sums.CASES, *single.CASES, *whole.CASES, *keyed.CASES, *joins.CASES],
    bars=[*sums.BARS, *single.BARS, *whole.BARS, *keyed.BARS, *joins.BARS],
    marks=keyed.MARKS,
)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
