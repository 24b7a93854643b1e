"""What the checkers must see of the core; pytest only shows that it runs."""

from __future__ import annotations

from typing import assert_type

from warren.core.clock import seconds


def test_seconds_is_a_float() -> None:
    assert_type(seconds("1s"), float)
