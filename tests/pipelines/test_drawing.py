"""The picture holds what `explain` says, each step apart from the others, whatever its name is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.pipelines.test_explain import FLOW
from warren import Pipeline
from warren.connectors import memory
from warren.operators import (
    aggregate,
    batch,
    broadcast,
    count,
    dead_letter,
    discard,
    for_each,
    map,
    merge,
    route,
    split,
    tap,
    timeout,
    tumbling,
    window,
)

SVG = "{http://www.w3.org/2000/svg}"
LONG = "memory:" + "x" * 200
FLOWS: dict[str, Any] = {
    "shapes": FLOW,
    "shortest": memory.queue("a") | memory.queue("b"),
    "ends without a sink": memory.queue("a") | map(len) | discard(),
    "open branches": memory.queue("a") | split(bool, map(len) | map(str), map(hex)) | memory.queue("b"),
    "late values beside": memory.queue("a", float)
    | window(tumbling("1h"), time=float, late=map(str) | memory.queue("late"))
    | aggregate(n=count())
    | memory.queue("b"),
    "steps inside": memory.queue("a")
    | timeout(map(len) | for_each(map(str) | tap(len)), "5s")
    | broadcast({"all": memory.queue("all"), "some": dead_letter("some")}),
    "branches in branches": merge(memory.queue("a"), merge(memory.queue("b"), memory.queue("c") | map(len)))
    | route(
        len,
        {1: route(str, {2: memory.queue("x"), 3: batch(5) | memory.queue("y")}), 4: memory.queue("z")},
        default=dead_letter("odd"),
    ),
    "many branches": memory.queue("a") | route(len, {i: memory.queue(f"q{i}") for i in range(50)}),
    "long names": memory.queue("x" * 200) | route(len, {"l" * 200: memory.queue("b"), 2: memory.queue("c")}),
}


def drawn(flow: Any, name: str = "p") -> ET.Element:
    return ET.fromstring(Pipeline(name, flow).explain().svg)


def boxes(element: ET.Element, x: float = 0, y: float = 0) -> Iterator[tuple[float, float, float, float]]:
    """The corners of all boxes."""
    moved = element.get("transform", "translate(0 0)").removeprefix("translate(").removesuffix(")").split()
    x, y = x + float(moved[0]), y + float(moved[1])
    for child in element:
        if child.tag == f"{SVG}rect" and child.get("x") is None:
            yield x, y, x + float(child.get("width", 0)), y + float(child.get("height", 0))
        yield from boxes(child, x, y)


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
def test_each_step_of_the_text_is_a_box_apart_from_the_others(flow: Any) -> None:
    picture = drawn(flow)
    lines = [line.strip().removeprefix("-> ") for line in Pipeline("p", flow).explain().splitlines()[2:-1]]
    steps = [line.partition("   [")[0] for line in lines if not line.endswith(":")]
    titles = [title.text for title in picture.iter(f"{SVG}title")]
    assert sorted(titles) == sorted([*steps, "dead letters p.dead"])
    found = list(boxes(picture))
    assert len(found) == len(titles)
    for i, (left, top, right, bottom) in enumerate(found):
        assert left >= 0 and right <= float(picture.get("width", 0)) and bottom <= float(picture.get("height", 0))
        for other in found[:i]:
            assert right < other[0] or other[2] < left or bottom < other[1] or other[3] < top


def test_labels_notes_and_limits_are_written() -> None:
    texts = [text.text for text in drawn(FLOW).iter(f"{SVG}text")]
    for told in (
        "1",
        "default",
        "int",
        "acknowledged after a later attempt",
        "at least once; credit 8,192 (derived: the usual), shutdown within 30 s",
        "failures left over",
    ):
        assert told in texts, told


def test_each_edge_leads_somewhere() -> None:
    # Down to each of three steps, from two sources into one, to three branches, on to a sink, and to the dead letters.
    heads = [path for path in drawn(FLOW).iter(f"{SVG}path") if path.get("fill") is None]
    assert len(heads) == 1 + 2 + 3 + 3 + 1 + 1


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "a\"'&<b>", "\x00\x1b[31m\u202e", "a\nb", "日本語", "]]>", LONG]
)
def test_a_hostile_name_is_text(name: str) -> None:
    def hostile(value: object) -> object:
        return value

    hostile.__name__ = name
    picture = drawn(memory.queue(name) | map(hostile) | route(hostile, {name: memory.queue(name)}), name)
    assert {element.tag.removeprefix(SVG) for element in picture.iter()} <= {
        *("svg", "style", "g", "title", "text", "rect", "path")
    }
    assert all(not key.startswith("on") for element in picture.iter() for key in element.attrib)
