"""`batch` with a count or a time that tunes itself, in virtual time."""

import asyncio

import pytest

from warren import Pipeline, exponential
from warren.analytics.tuning import Tuner
from warren.connectors import memory
from warren.core.errors import GraphError
from warren.core.knobs import Knob
from warren.operators import batch, flat_map, frames, map, retry

COUNT = Knob("count", 1, 1000, start=10)


async def write(values):
    """Dear to call, and worse than in proportion for many: 158 at once are best."""
    await asyncio.sleep(0.05 + 0.0005 * len(values) + 2e-6 * len(values) ** 2)
    return values


def trial(step, values=30_000, credit=1_100, at=None, write=write):
    flow = memory.items([]) | step | map(write, concurrency=2) | memory.into([])
    return Pipeline("batches", flow, credit=credit).test(list(range(values)), at=at)


def flat(result):
    return [each for values in result.values for each in values]


def test_in_act_mode_it_finds_the_count_and_loses_nothing():
    tuner = Tuner(COUNT, mode="act", least=20)
    tuned = trial(batch(tuner, "1s"))
    assert flat(tuned) == list(range(30_000))
    assert 80 <= tuner.controller.centre <= 320
    assert tuned.elapsed < 0.5 * trial(batch(10, "1s")).elapsed
    assert tuned.elapsed < 1.6 * trial(batch(158, "1s")).elapsed


def test_in_shadow_nothing_changes():
    tuner = Tuner(COUNT, least=20)
    result = trial(batch(tuner, "1s"), 3_000)
    assert result.values == trial(batch(10, "1s"), 3_000).values
    assert tuner.decisions and {each.done for each in tuner.decisions} == {10}
    assert any(each.choice > 10 for each in tuner.decisions)


def test_it_keeps_a_latency():
    tuner = Tuner(Knob("count", 1, 1000, start=500), mode="act", least=20, latency="600ms")
    result = trial(batch(tuner, "1s"), 20_000)
    assert flat(result) == list(range(20_000))
    assert tuner.controller.centre < 300


def test_where_the_time_is_the_limit_the_count_stays():
    tuner = Tuner(COUNT, mode="act", least=5)
    trial(batch(tuner, "5ms"), 800, at=[i * 0.004 for i in range(800)])
    assert tuner.value == 10 and {each.reason for each in tuner.decisions} == {"not the limit"}


def test_a_time_is_told_what_it_limited():
    wait = Tuner(Knob("wait", 1, 100, start=50), mode="act", least=5)
    step = batch(1000, wait)
    assert (step.name, step.settings) == ("batch(1000, 0.001 to 0.1s)", (wait,))
    result = trial(step, 6_000, at=[i * 0.002 for i in range(6_000)])
    assert flat(result) == list(range(6_000))
    assert len(wait.decisions) > 8 and all(each.reason != "not the limit" for each in wait.decisions)
    full = Tuner(Knob("wait", 1, 10_000, start=5_000), mode="act", least=5)
    trial(batch(10, full), 4_000)
    assert {each.reason for each in full.decisions} == {"not the limit"}


def test_a_batch_that_fails_is_no_throughput():
    tuner = Tuner(COUNT, mode="act", least=5)

    async def refuse(values):
        await asyncio.sleep(0.01)
        raise ConnectionError("away")

    assert trial(batch(tuner), 2_000, write=refuse).outcomes == {"dead-lettered": 2_000}
    assert 1 <= tuner.value <= 1000


@pytest.mark.parametrize(
    "step",
    [
        lambda tuner: batch(tuner, "10ms", by=lambda value: value % 3),
        lambda tuner: batch(tuner, size=300, measure=lambda value: 7),
        lambda tuner: batch(tuner) | flat_map(list) | batch(1),
        lambda tuner: batch(tuner, "10ms") | map(lambda values: values) | retry(exponential("1s", attempts=2)),
    ],
)
def test_with_everything_else_that_closes_batches_nothing_is_lost(step):
    tuner = Tuner(COUNT, mode="act", least=5)
    assert sorted(flat(trial(step(tuner), 3_000))) == list(range(3_000))


def test_frames_take_one_too():
    tuner = Tuner(COUNT, mode="act", least=5)
    flow = memory.items([]) | frames(tuner) | memory.into([])
    result = Pipeline("frames", flow).test([{"n": n} for n in range(500)])
    assert sum(len(frame) for frame in result.values) == 500


def test_the_credit_must_be_enough_for_the_largest():
    with pytest.raises(GraphError, match="up to 1000 messages"):
        trial(batch(Tuner(COUNT)), credit=900)
    assert batch(Tuner(COUNT), "2s").name == "batch(1 to 1000, 2s)"


def test_one_tuner_is_not_for_both_limits():
    tuner = Tuner(COUNT)
    with pytest.raises(GraphError, match="one setting"):
        trial(batch(tuner, tuner))
