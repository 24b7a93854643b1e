import asyncio

import pytest

from warren import Pipeline
from warren.analytics.routing import EarliestFinish
from warren.connectors import memory
from warren.operators import flat_map, map, route


def worker(seconds, concurrency=1, fails=False):
    async def work(value):
        await asyncio.sleep(seconds)
        if fails:
            raise ConnectionError("away")
        return value

    return map(work, concurrency=concurrency)


def trial(policy, *, first=(), values=200, every=0.05, fails=False):
    fast, slow = memory.queue("fast"), memory.queue("slow")
    steps = route(policy, fast=worker(0.05) | fast, slow=worker(0.5, fails=fails) | slow)
    source = memory.items([])
    for step in first:
        source = source | step
    at = [i * every for i in range(values)]
    return Pipeline("shares", source | steps).test(list(range(values)), at=at)


def test_a_route_tells_its_policy_what_became_of_each_value():
    seen = []
    outputs = trial(EarliestFinish(mode="act", record=seen.append)).outputs
    assert len(seen) == 200 and all(decision.success and decision.seconds > 0.049 for decision in seen)
    assert len(outputs["memory:fast"]) > 150
    assert sorted(outputs["memory:fast"] + outputs["memory:slow"]) == list(range(200))


def test_parts_of_a_message_are_told_one_by_one():
    seen = []
    trial(EarliestFinish(mode="act", record=seen.append), first=[flat_map(lambda value: [value, value])], values=50)
    assert len(seen) == 100 and all(decision.success for decision in seen)


def test_a_target_that_fails_is_left_alone():
    seen = []
    trial(EarliestFinish(mode="act", record=seen.append, explore=0.0), fails=True)
    assert len(seen) == 200
    assert 0 < sum(not decision.success for decision in seen) < 20


@pytest.mark.parametrize("mode", ["shadow", "act"])
def test_the_same_times_give_the_same_routes(mode):
    assert trial(EarliestFinish(mode=mode)).outputs == trial(EarliestFinish(mode=mode)).outputs
