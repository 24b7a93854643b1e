from __future__ import annotations

import functools
from typing import Any

import pytest

from warren.core.errors import GraphError
from warren.core.graph import Chain, Ended, Flow, Inlet, Operator, Outlet, Source, Stream, name_of


class From(Inlet[int]):
    pass


class To(Outlet[int]):
    pass


class Step(Operator[int, int]):
    def __init__(self, label: str) -> None:
        self.label = label

    @property
    def name(self) -> str:
        return self.label


a, b, c = Step("a"), Step("b"), Step("c")


def test_composition_is_associative() -> None:
    ways: list[Any] = [
        From() | a | b | To(),
        From() | (a | b) | To(),
        From() | (a | b | To()),
        From() | a | (b | To()),
        (From() | a) | b | To(),
    ]
    for flow in ways:
        assert isinstance(flow, Flow)
        assert flow.name == "from | a | b | to"
        assert flow.steps == (a, b)
        assert isinstance(flow.source, From)
        assert isinstance(flow.sink, To)


def test_partial_graphs_are_values_of_their_own() -> None:
    stream, chain, ended = From() | a | b, a | (b | c), a | (b | To())
    assert isinstance(stream, Stream)
    assert isinstance(chain, Chain)
    assert isinstance(ended, Ended)
    assert (stream.name, chain.name, ended.name) == ("from | a | b", "a | b | c", "a | b | to")
    assert [step.name for _, step in ended.branches()] == ["a", "b", "to"]
    assert chain.steps == (a, b, c)


def test_composing_changes_nothing_that_was_there() -> None:
    stem = From() | a
    assert isinstance(stem, Stream)
    left, right = stem | b, stem | c
    assert (stem.name, left.name, right.name) == ("from | a", "from | a | b", "from | a | c")


def test_inlets_are_found_through_operators() -> None:
    source = From()
    stream: Source[int] = source | a | b
    assert list(stream.inlets()) == [source]


def free(x: int) -> int:
    return x


@pytest.mark.parametrize(
    ("compose", "sentence"),
    [
        (lambda: From() | From(), "from cannot follow from: a source starts a pipeline; join sources with merge"),
        (lambda: a | From(), "from cannot follow a: a source starts a pipeline"),
        (lambda: From() | free, r"cannot follow from: wrap the function: map\(free\)"),
        (lambda: a | (lambda x: x), r"wrap the function: map\(…\)"),
        (lambda: From() | 3, "3 cannot follow from: compose sources, operators and sinks with |"),
        (lambda: To() | a, "a cannot follow to: a sink ends its branch"),
        (lambda: (a | To()) | To(), "a sink ends its branch"),
    ],
)
def test_what_cannot_follow_is_refused_with_the_remedy(compose: Any, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        compose()


def test_names_of_functions() -> None:
    assert name_of(functools.partial(functools.partial(free), 1)) == "free"
    assert name_of(free) == "free"
    assert name_of(type("Handler", (), {"__call__": lambda self: None})()) == "Handler"
