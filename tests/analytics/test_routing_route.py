import asyncio

import pytest

from warren import Pipeline
from warren.analytics.routing import EarliestFinish
from warren.connectors import memory
from warren.operators import constant, flat_map, map, retry, route


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


def lengths(outputs):
    return [len(values) for values in outputs.values()]


def together(policy, values=20_000, *, fails=lambda value: False):
    """Values that come all at once."""

    def work(value):
        if fails(value):
            raise ConnectionError("away")
        return value

    a, b = memory.queue("a"), memory.queue("b")
    steps = memory.items([]) | route(policy, a=map(work) | a, b=map(work) | b)
    return Pipeline("shares", steps).test(list(range(values)))


def test_values_that_come_together_share_decisions():
    policy = EarliestFinish(mode="act", size=lambda value: 1 + value % 3, kind=lambda value: value % 2 == 0)
    outputs = together(policy).outputs
    assert sorted(outputs["memory:a"] + outputs["memory:b"]) == list(range(20_000))
    assert min(lengths(outputs)) > 2000
    assert outputs["memory:a"] == sorted(outputs["memory:a"])
    made = list(policy.decisions)
    assert sum(decision.messages for decision in made) == 20_000 and len(made) < 5000
    assert sum(decision.inputs["size"] for decision in made) == sum(1 + value % 3 for value in range(20_000))
    assert {decision.inputs["kind"] for decision in made} == {"True", "False"}
    assert all(decision.success and decision.seconds is not None for decision in made) and policy.errors == 0


def test_few_values_that_come_soon_after_each_other_join_decisions():
    policy = EarliestFinish(mode="act", kind=lambda value: value % 4)
    a, b = memory.queue("a"), memory.queue("b")
    steps = memory.items([]) | route(policy, a=worker(0.003, 50) | a, b=worker(0.006, 50) | b)
    outputs = Pipeline("shares", steps).test(list(range(4000)), at=[i // 5 * 0.0005 for i in range(4000)]).outputs
    assert sorted(outputs["memory:a"] + outputs["memory:b"]) == list(range(4000))
    made = list(policy.decisions)
    assert sum(decision.messages for decision in made) == sum(decision.inputs["size"] for decision in made) == 4000
    assert len(made) < 800 and policy.errors == 0
    assert all(decision.success and decision.seconds < 0.1 for decision in made)
    assert sum(decision.messages for decision in made if decision.done == "a") > 2000


def test_in_the_shadow_each_value_goes_where_the_static_function_says_also_together():
    policy = EarliestFinish(static=lambda value: "a" if value % 3 else "b")
    outputs = together(policy).outputs
    assert outputs["memory:b"] == list(range(0, 20_000, 3)) and len(outputs["memory:a"]) == 13_333
    assert all(decision.done == decision.static for decision in policy.decisions)
    assert len(policy.decisions) < 5000


def test_a_value_for_which_a_function_fails_fails_alone_also_together():
    odd = EarliestFinish(static=lambda value: {0: "a"}[value // 19_999])
    trial = together(odd)
    assert len(trial.outputs["memory:a"]) == 19_999 and sum(lengths(trial.dead_letters)) == 1
    sizes = EarliestFinish(mode="act", size=lambda value: 1 / (19_999 - value))
    outputs = together(sizes).outputs
    assert sum(lengths(outputs)) == 20_000 and sizes.errors == 1


def test_of_values_that_share_a_decision_most_say_whether_it_was_well():
    policy = EarliestFinish(mode="act", explore=0.0)
    together(policy, fails=lambda value: value % 4 == 0)
    shared = [decision for decision in policy.decisions if decision.messages > 4]
    assert len(shared) > 50 and all(decision.success for decision in shared)
    together(policy, fails=lambda value: value % 4 != 0)
    assert not policy.decisions[-1].success


def test_what_is_tried_again_leaves_the_values_it_shared_a_decision_with():
    calls = []

    def once(value):
        calls.append(value)
        if value % 7 == 0 and calls.count(value) < 2:
            raise ConnectionError("busy")
        return value

    policy = EarliestFinish(mode="act")
    a, b = memory.queue("a"), memory.queue("b")
    steps = memory.items([]) | map(once) | flat_map(lambda value: [value, value]) | retry(constant("1s"))
    trial = Pipeline("shares", steps | route(policy, a=a, b=b)).test(list(range(2000)))
    assert sum(lengths(trial.outputs)) == 4000
    assert sum(decision.messages for decision in policy.decisions) == 4000


def test_what_goes_back_as_the_run_ends_is_no_failure():
    policy = EarliestFinish(mode="act")

    async def main():
        began = asyncio.Event()

        async def work(value):
            began.set()
            await asyncio.Event().wait()

        stuck = map(work, concurrency=4)
        a, b = memory.into([]), memory.into([])
        running = Pipeline("p", memory.items(range(4)) | route(policy, a=stuck | a, b=stuck | b)).start()
        await began.wait()
        running._task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())
    assert not policy.decisions
