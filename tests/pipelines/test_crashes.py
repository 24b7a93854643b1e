"""A worker that dies at any step of its loop, again and again: nothing is lost, and figures are those of one computation.

``WARREN_STORIES=20000`` tells so many stories instead of a few hundred.
"""

from __future__ import annotations

import os
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipelines.crashing import check

STORIES = int(os.environ.get("WARREN_STORIES", "200"))


@settings(max_examples=STORIES, deadline=None, derandomize=STORIES == 200, database=None)
@given(seed=st.integers(0, 2**32))
def test_figures_are_those_of_one_computation_whenever_the_worker_dies(seed: int) -> None:
    check(random.Random(seed))
