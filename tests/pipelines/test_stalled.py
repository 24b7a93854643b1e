"""When every credit is held and nothing can let it go, the pipeline says so instead of waiting for ever."""

import pytest

from warren import Pipeline
from warren.connectors import memory
from warren.core.errors import StalledError
from warren.operators import batch, tumbling, window


def test_a_window_that_needs_more_than_the_credit_is_told_with_the_remedy() -> None:
    hourly = window(tumbling("1h"), time=float)
    pipeline = Pipeline("hours", memory.items([]) | hourly | memory.into([]), credit=2)
    with pytest.raises(StalledError, match=r"'hours'.*all 2 credits.*raise Pipeline\(credit=\.\.\.\)"):
        pipeline.test([1, 2, 3])


def test_a_timer_that_will_let_go_is_waited_for() -> None:
    pipeline = Pipeline("pairs", memory.items([]) | batch(timeout="1s") | memory.into([]), credit=2)
    assert pipeline.test([1, 2, 3]).values == [[1, 2], [3]]
