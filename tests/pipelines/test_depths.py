"""How deep queues are, told to whoever chooses among them."""

from __future__ import annotations

import asyncio
import logging
from itertools import pairwise
from typing import Any

import pytest

from warren import Pipeline
from warren.analytics.routing import EarliestFinish
from warren.connectors import memory
from warren.core.errors import GraphError
from warren.core.graph import Outlet, SinkConnection
from warren.core.health import Health, QueueHealth
from warren.core.message import Outgoing
from warren.operators import map, route
from warren.pipelines.virtual import VirtualLoop


class Deep(Outlet[Any]):
    """A sink that says of itself, one after the other, what it is given; an error is raised, and the last one stays."""

    def __init__(self, name: str, *says: Any) -> None:
        self.title = name
        self.says = list(says)

    @property
    def name(self) -> str:
        return self.title

    async def open(self) -> SinkConnection:
        return self

    async def write(self, messages: Outgoing) -> None:
        pass

    async def close(self) -> None:
        pass

    async def health(self, patience: float = 0.0) -> Health:
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if isinstance(said, Exception):
            raise said
        if said == "hangs":
            await asyncio.Event().wait()
        return Health(name=self.name, queues=tuple(QueueHealth(name=self.name, depth=depth) for depth in said))


class Heard(EarliestFinish):
    """Writes down what it is told, and when."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(mode="act", **settings)
        self.heard: list[Any] = []

    def reading(self, label: Any, depth: float | None, at: float) -> None:
        self.heard.append((label, depth, at))
        super().reading(label, depth, at)


def run(policy: Heard, *, seconds: float = 3.5, **branches: Any) -> list[Any]:
    """What a policy is told while a pipeline runs for so long, in time that jumps."""

    async def main() -> None:
        pipeline = Pipeline("orders", memory.queue("in") | route(policy, **branches))
        running = pipeline.start(clock=asyncio.get_running_loop().time)
        await asyncio.sleep(seconds)
        running.stop()
        await running

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
    return policy.heard


def told(heard: list[Any], label: str) -> list[Any]:
    return [depth for each, depth, _ in heard if each == label]


def test_a_route_tells_its_policy_how_deep_the_queues_of_its_branches_are():
    steps = {"a": Deep("a", [3], [5], [0]), "b": map(str) | Deep("b", [7])}
    heard = run(Heard(ends="read"), **steps)
    assert told(heard, "a") == [3, 5, 0, 0] and told(heard, "b") == [7] * 4
    times = [at for label, _, at in heard if label == "a"]
    assert [later - at for at, later in pairwise(times)] == pytest.approx([1.0] * 3)


def test_it_is_asked_as_often_as_the_policy_says_and_not_where_ends_are_told():
    assert len(run(Heard(ends="read", every="500ms"), seconds=2.2, a=Deep("a", [1]), b=memory.into([]))) == 5
    assert not run(Heard(), a=Deep("a", [1]), b=Deep("b", [1]))


@pytest.mark.parametrize("every", [0, "5ms", "2h"])
def test_a_time_that_cannot_be_is_refused(every: Any):
    with pytest.raises(GraphError, match="read depths"):
        EarliestFinish(ends="read", every=every)


def test_several_queues_of_a_branch_count_together_and_only_where_all_are_known():
    assert told(run(Heard(ends="read"), a=Deep("a", [2, 3], [2, None], [], [None], [1])), "a") == [5]


def test_what_cannot_be_told_is_left_out_said_once_and_asked_again(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        lost = ConnectionError("lost")
        heard = run(Heard(ends="read"), seconds=11.5, a=Deep("a", [4], lost, lost, "hangs", [2]), b=Deep("b", [1]))
    # The one that hangs is given up after five seconds.
    assert told(heard, "a") == [4, 2, 2, 2] and len(told(heard, "b")) == 12
    assert [record.message for record in caplog.records] == [
        "how deep queues are could not be told: ConnectionError('lost'); they are looked at again"
    ]


def test_nobody_looks_any_more_once_the_pipeline_has_ended():
    policy, deep = Heard(ends="read"), Deep("a", [1])

    async def main() -> None:
        await Pipeline("orders", memory.items([1, 2]) | route(policy, a=deep)).start()
        heard = len(policy.heard)
        await asyncio.sleep(10)
        assert len(policy.heard) == heard
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
