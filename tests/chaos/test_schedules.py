"""Some of the seeded fault schedules; ``make chaos`` plays ten thousand."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.chaos.schedules import run


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_nothing_that_was_confirmed_is_lost(first: int) -> None:
    struck: Counter[str] = Counter()
    for seed in range(first, first + 50):
        struck += run(seed)
    assert len(struck) > 8
