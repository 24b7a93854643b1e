import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.core.errors import GraphError
from warren.operators.aggregations import quantile, total


@given(st.floats(0, 1), st.lists(st.integers(-100, 100), min_size=1))
def test_quantiles_lie_between_and_agree_with_numpy(q: float, values: list[int]) -> None:
    import numpy as np

    figure = quantile(q)
    found = figure.result(figure.fold(figure.initial, values))
    assert found == pytest.approx(np.quantile(values, q))


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(GraphError, match="from 0 to 1"):
        quantile(50)
    with pytest.raises(GraphError, match="not a function"):
        total("amount")  # type: ignore[arg-type]
