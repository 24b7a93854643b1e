"""What the checkers must see of the test kit."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

from warren import Pipeline
from warren.connectors import memory
from warren.core.graph import Operator, Source
from warren.operators import map
from warren.pipelines.trial import Trial
from warren.testing import Faults, Played, Recording, Virtual, check, fail, play, recorded, replay, slow, virtual


def size(text: str) -> int:
    return len(text)


async def fetch(text: str) -> bytes:
    return text.encode()


texts: Source[str] = memory.queue("texts", str)
sizes = Pipeline("sizes", texts | map(size) | memory.into(list[int]()))


def test_a_function_that_fails_keeps_its_type() -> None:
    assert_type(fail(nth=2)(size)("a"), int)
    assert_type(texts | map(fail(nth=1)(size)), Source[int])
    assert_type(texts | map(fail(nth=1)(fetch)), Source[bytes])
    assert_type(fail(nth=1)(map(size)), Operator[str, int])


def test_a_slow_function_is_async() -> None:
    assert_type(texts | map(slow("1s")(size)), Source[int])
    assert_type(texts | map(slow("1s")(fetch)), Source[bytes])


def test_what_comes_of_it() -> None:
    assert_type(check(sizes, "a|", "x|", values={"x": 1}), Trial)
    assert_type(play(sizes, "a|"), Played)
    assert_type(sizes.test(["a"], at=["1s"], faults=Faults().reorder()), Trial)
    assert_type(virtual(sizes), Virtual)


def test_what_is_replayed(tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    file.touch()
    assert_type(recorded(file), Recording)
    assert_type(replay(sizes, recorded(file), speed=2), Trial)
