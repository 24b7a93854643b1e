"""`retry` with a policy that learns, in virtual time."""

from typing import Any

import pytest

from tests.operators.fake import Flaky
from warren import Pipeline
from warren.analytics import AdaptiveBackoff
from warren.connectors import memory
from warren.core.graph import Operator
from warren.operators import budget, constant, filter, flat_map, map, retry
from warren.pipelines import Trial


def trial(steps: Operator[Any, Any], values: Any) -> Trial:
    return Pipeline("p", memory.items([]) | steps | memory.into([])).test(values)


def test_in_shadow_the_usual_policy_counts_and_decisions_are_recorded_with_their_outcomes() -> None:
    policy = AdaptiveBackoff("100ms", attempts=3, usual=constant("2s", attempts=3))
    result = trial(map(Flaky(2)) | retry(policy), [1])
    assert (result.values, result.elapsed) == ([1], pytest.approx(4))
    assert [(each.inputs["failed"], each.done, each.mode, each.success) for each in policy.decisions] == [
        (1, 2.0, "shadow", False),
        (2, 2.0, "shadow", True),
    ]
    assert all(each.choice is not None and each.choice != each.static for each in policy.decisions)


def test_in_act_mode_its_own_delays_count_and_attempts_end_with_their_bound() -> None:
    policy = AdaptiveBackoff("100ms", attempts=4, maximum="1s", usual=constant("1h"), mode="act")
    flaky = Flaky(99)
    result = trial(map(flaky) | retry(policy), [1])
    assert flaky.calls[1] == 4
    assert 0 < result.elapsed <= 3
    assert result.outcomes == {"dead-lettered": 1}
    assert [(each.inputs["failed"], each.success, each.reason) for each in policy.decisions][-1] == (
        4,
        None,
        "the last attempt",
    )


def test_what_is_made_of_a_message_tells_of_its_success() -> None:
    policy = AdaptiveBackoff("100ms", mode="act")
    result = trial(map(Flaky(1)) | flat_map(lambda value: [value, -value]) | retry(policy), [1, 2])
    assert sorted(result.values) == [-2, -1, 1, 2]
    assert [each.success for each in policy.decisions] == [True, True]


def test_a_message_that_is_filtered_after_its_retry_tells_nothing() -> None:
    policy = AdaptiveBackoff("100ms", mode="act")
    assert trial(map(Flaky(1)) | filter(lambda value: value > 1) | retry(policy), [1, 2]).values == [2]
    assert [each.success for each in policy.decisions] == [True]


def test_what_a_budget_refuses_is_no_outcome_and_what_was_parked_is_one() -> None:
    policy = AdaptiveBackoff("100ms", mode="act")
    assert trial(map(Flaky(1)) | retry(policy, budget=budget(0, minimum=0)), [1]).outcomes == {"dead-lettered": 1}
    assert not policy.decisions
    parked = AdaptiveBackoff("1m", maximum="1h", usual=constant("1m"))
    assert trial(map(Flaky(1)) | retry(parked, park="10s"), [1]).values == [1]
    assert [(each.success, each.done) for each in parked.decisions] == [(True, 60.0)]


def test_poison_among_good_messages_is_soon_given_up_at_once_but_for_probes() -> None:
    def parse(value: int) -> int:
        if value % 5 == 0:
            raise ValueError(f"order {value} has no customer")
        return value

    policy = AdaptiveBackoff("10ms", attempts=4, mode="act")
    result = trial(map(parse) | retry(policy), range(3000))
    assert (result.outcomes["delivered"], result.outcomes["dead-lettered"]) == (2400, 600)
    given_up = [each for each in policy.decisions if each.reason == "hardly any attempt ever succeeded"]
    assert len(given_up) > 300


def test_two_failures_of_one_text_are_one_class_whatever_their_numbers() -> None:
    policy = AdaptiveBackoff("10ms")
    assert policy.kind(TimeoutError("no answer in 30 s")) == policy.kind(TimeoutError("no answer in 7 s"))
    assert policy.kind(TimeoutError("no answer")) != policy.kind(ConnectionError("no answer"))
