"""Windows and joins whose values have changed their shape since their state was written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from warren import Pipeline
from warren.connectors import memory
from warren.connectors.sqlite.state import StateFile
from warren.core.errors import GraphError, StateError
from warren.core.graph import Operator, Source
from warren.core.state import StateStore
from warren.operators import aggregate, filter, hopping, join, join_table, map, session, total, tumbling, window
from warren.operators import count as by_count


class Kept:
    """Queues in memory, and state."""

    def __init__(self, store: StateStore) -> None:
        self.store = store
        broker = memory.Broker()
        self.queues = {name: memory.queue(name, Any, broker=broker) for name in ("left", "right")}

    def run(self, flow: Source[Any], **given: Sequence[Any]) -> list[Any]:
        """What a run of some values gives."""
        for name, values in given.items():
            Pipeline("feed", memory.items(values) | self.queues[name]).run()
        out: list[Any] = []
        Pipeline("x", flow | memory.into(out), state=self.store, credit=100).run(until_empty=True)
        return out


@pytest.fixture(params=["file", "memory"])
def kept(tmp_path: Path, request: pytest.FixtureRequest) -> Kept:
    return Kept(StateFile(tmp_path / "x.state") if request.param == "file" else memory.state())


OLD = {"by": lambda event: event[0], "time": lambda event: event[1], "lateness": "1h"}
NEW = {"by": lambda event: event["key"], "time": lambda event: event["at"], "lateness": 0, "version": 2}


def new(key: str, event: Any) -> dict[str, Any]:
    assert key == event[0]
    return {"key": key, "at": event[1]}


KINDS = {"tumbling": tumbling(10), "hopping": hopping(10, 5), "session": session(10)}


@pytest.mark.parametrize("kind", KINDS)
def test_values_of_open_windows(kept: Kept, kind: str) -> None:
    source = kept.queues["left"]
    assert kept.run(source | window(KINDS[kind], **OLD), left=[("a", 0), ("a", 1), ("b", 2)]) == []
    with pytest.raises(StateError, match=r"1:window: its state has version 1 and the pipeline has version 2.*give migrate="):
        kept.run(source | window(KINDS[kind], **NEW))

    def broken(key: Any, value: Any) -> Any:
        raise ValueError("oh")

    with pytest.raises(
        StateError, match=r"migrate= raised ValueError \(oh\) for key 'a' with the state \['a', 0\]; the file"
    ):
        kept.run(source | window(KINDS[kind], **NEW, migrate=broken))
    newer = source | window(KINDS[kind], **NEW, migrate=new)
    # Written once in the new shape, and read again.
    assert kept.run(newer, left=[{"key": "a", "at": 3}]) == []
    found = kept.run(newer, left=[{"key": "z", "at": 100}])
    (of_a,) = [held.values for held in found if held.key == "a" and held.end > 9]
    assert of_a == [{"key": "a", "at": at} for at in (0, 1, 3)]
    assert [held.values for held in found if held.key == "b" and held.end > 9] == [[{"key": "b", "at": 2}]]
    assert [held.key for held in kept.run(newer, left=[{"key": "z", "at": 1000}])] == ["z"] * (1 + (kind == "hopping"))
    with pytest.raises(StateError, match=r"version 2 and the pipeline has version 1, which is older; run the newer program"):
        kept.run(source | window(KINDS[kind], **OLD))


def test_values_of_windows_by_count(kept: Kept) -> None:
    source = kept.queues["left"]
    kept.run(source | window(by_count(3)), left=[1, 2])
    newer = source | window(by_count(3), version=3, migrate=lambda key, value: value * 10)
    assert [held.values for held in kept.run(newer, left=[30, 40])] == [[10, 20, 30]]
    assert [held.values for held in kept.run(newer, left=[50, 60])] == [[40, 50, 60]]


def test_figures_of_windows_have_no_values_to_migrate(kept: Kept) -> None:
    def step(**options: Any) -> Source[Any]:
        figures: Operator[Any, Any] = aggregate(sum=total(lambda event: event[1]))
        return kept.queues["left"] | window(tumbling(10), **OLD, **options) | figures

    kept.run(step(), left=[("a", 1)])
    with pytest.raises(StateError, match=r"version 1 and the pipeline has version 2"):
        kept.run(step(version=2))
    with pytest.raises(GraphError, match=r"aggregate\(sum\) behind it has its figures kept in place of values"):
        step(version=2, migrate=new)


def joined(kept: Kept, **options: Any) -> Source[Any]:
    left, right = kept.queues["left"], kept.queues["right"]
    return join(left, right, within=10, how="outer", lateness="1h", idle=None, **options)


def test_values_of_a_join(kept: Kept) -> None:
    old = joined(kept, on=lambda event: event[0], time=lambda event: event[1])
    assert kept.run(old, left=[("a", 0), ("b", 0)], right=[("c", 0)]) == []
    settings: dict[str, Any] = {"on": lambda event: event["key"], "time": lambda event: event["at"], "version": 2}
    with pytest.raises(StateError, match=r"1:join: its state has version 1 and the pipeline has version 2.*give migrate="):
        kept.run(joined(kept, **settings))
    for migrate in (lambda key, event: 1 / 0, (lambda key, event: 1 / 0, new)):
        with pytest.raises(
            StateError, match=r"1:join: migrate= raised ZeroDivisionError .* for key 'a' .*the file is as it"
        ):
            kept.run(joined(kept, **settings, migrate=migrate))

    def right(key: str, event: Any) -> dict[str, Any]:
        return new(key, event) | {"right": True}

    newer = joined(kept, **settings, migrate=(new, right))
    assert kept.run(newer) == []
    pairs = kept.run(newer, left=[{"key": "c", "at": 1}], right=[{"key": "a", "at": 1}])
    assert {(pair.key, pair.left["at"], pair.right["at"], pair.right.get("right")) for pair in pairs} == {
        ("a", 0, 1, None),
        ("c", 1, 0, True),
    }
    last = {"key": "z", "at": 10_000}
    (alone,) = [pair for pair in kept.run(newer, left=[last], right=[last]) if pair.key != "z"]
    assert (alone.left, alone.right) == ({"key": "b", "at": 0}, None)


def test_rows_of_a_table(kept: Kept) -> None:
    stream, table = kept.queues["left"], kept.queues["right"]

    def flow(name: Any, **options: Any) -> Source[Any]:
        pairs = join_table(stream, table, on=(lambda key: key, lambda row: row[0]), how="left", **options)
        return pairs | map(lambda pair: pair.right and name(pair.right)) | filter(bool)

    kept.run(flow(lambda row: row[1]), right=[("eu", "Europe")])
    newer = flow(lambda row: row[1]["name"], version=2, migrate=lambda key, row: (key, {"name": row[1]}))
    assert kept.run(newer, left=["eu", "us"]) == ["Europe"]
    assert kept.run(newer, left=["eu"]) == ["Europe"]


@pytest.mark.parametrize("bad", [5, (new,)])
def test_what_is_no_function_is_refused(bad: Any) -> None:
    with pytest.raises(GraphError, match=r"window\(.*migrate=...\): .*; give a function of a key and an old value"):
        window(tumbling(1), migrate=bad)
    with pytest.raises(GraphError, match=r"join\(migrate=...\): .*give a function of a key and an old value, or a pair"):
        join(memory.queue("a"), memory.queue("b"), on=str, within=1, migrate=bad)
