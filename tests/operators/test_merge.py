import pytest

from warren.core.errors import GraphError
from warren.core.graph import Inlet, Stream
from warren.operators.merge import Merged, merge
from warren.operators.tap import tap


class Leaf(Inlet[int]):
    pass


def test_it_lists_its_sources_and_their_inlets() -> None:
    a, b = Leaf(), Leaf()
    merged = merge(a, b | tap(print))
    assert isinstance(merged, Merged)
    assert merged.name == "merge(leaf, leaf | tap(print))"
    assert [label for label, _ in merged.branches()] == ["1", "2"]
    assert list(merged.inlets()) == [a, b]
    assert isinstance(merged | tap(print), Stream)


def test_what_is_no_source_is_refused() -> None:
    with pytest.raises(GraphError, match="give the sources"):
        merge()
    with pytest.raises(GraphError, match="not a source"):
        merge(Leaf(), tap(print))  # type: ignore[arg-type]
