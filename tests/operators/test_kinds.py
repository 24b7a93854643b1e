"""The kinds of windows that can be asked for."""

from typing import Any

import pytest

from warren.core.errors import GraphError
from warren.operators.kinds import counted, session, tumbling


@pytest.mark.parametrize("kind", [tumbling, session])
def test_a_length_must_be_above_zero(kind: type) -> None:
    with pytest.raises(GraphError):
        kind("0s")


@pytest.mark.parametrize("size", [0, -1, True, 1.5, "3"])
def test_a_count_is_a_whole_number_above_zero(size: Any) -> None:
    with pytest.raises(GraphError, match="how many values make a window"):
        counted(size)
    with pytest.raises(GraphError, match="how many values make a window"):
        counted(10, size)


def test_values_between_two_windows_by_count_are_refused() -> None:
    with pytest.raises(GraphError, match="would be in none"):
        counted(2, 3)
