from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from tests.operators.fake import Flaky
from warren import Pipeline
from warren.connectors import memory
from warren.core.errors import DecodeError, GraphError, HandlerError
from warren.core.graph import Operator
from warren.operators import constant, exponential, linear, map, retry
from warren.pipelines import Trial


def trial(steps: Operator[Any, Any], *values: Any) -> Trial:
    return Pipeline("p", memory.items([]) | steps | memory.into([])).test(values)


@pytest.mark.parametrize(
    ("policy", "seconds"), [(constant("2s"), 6), (linear("1s"), 6), (exponential("1s", jitter="none"), 7)]
)
def test_it_waits_as_the_policy_says(policy: Any, seconds: float) -> None:
    result = trial(map(Flaky(3)) | retry(policy), 1)
    assert result.values == [1]
    assert result.elapsed == pytest.approx(seconds)
    assert result.outcomes == {"delivered": 1}


def test_it_gives_up_after_the_attempts_and_the_dead_letter_counts_them() -> None:
    flaky = Flaky(99)
    result = trial(map(flaky) | retry(constant("1s", attempts=3)), 1)
    assert flaky.calls[1] == 3
    [letter] = result.dead_letters["p.dead"]
    assert (letter.error, letter.metadata.headers["warren-attempts"]) == ("ConnectionError", "3")
    assert result.elapsed == pytest.approx(2)


@pytest.mark.parametrize(
    ("on", "error", "calls"),
    [
        (ConnectionError, ConnectionError("x"), 2),
        (ConnectionError, ValueError("x"), 1),
        ((ValueError, KeyError), KeyError("x"), 2),
        (OSError, ConnectionError("x"), 2),
        (Exception, HandlerError("x"), 1),
        (HandlerError, HandlerError("x"), 2),
    ],
)
def test_only_the_named_exceptions_are_tried_again(on: Any, error: Exception, calls: int) -> None:
    flaky = Flaky(1, error)
    trial(map(flaky) | retry(constant(0), on=on), 1)
    assert flaky.calls[1] == calls


def test_an_undecodable_message_is_not_tried_again() -> None:
    flow = memory.queue("in", int) | retry(constant("1s"), on=(Exception, DecodeError)) | memory.into([])
    result = Pipeline("p", flow).test([b"1", b"x"])
    assert result.values == [1]
    assert result.dead_letters["p.dead"][0].error == "DecodeError"
    assert result.elapsed == 0


def test_what_one_retry_gives_up_the_next_takes() -> None:
    flaky = Flaky(4)
    result = trial(map(flaky) | retry(constant("1s", attempts=2)) | map(str) | retry(constant("1m", attempts=9)), 1)
    assert result.values == ["1"]
    assert flaky.calls[1] == 5


def test_only_the_step_that_failed_and_those_behind_it_run_again() -> None:
    first, second = Flaky(0), Flaky(1)
    assert trial(map(first) | map(second) | retry(constant("1s")), 1, 2).values == [1, 2]
    assert (first.calls[1], second.calls[1]) == (1, 2)


def test_a_long_delay_is_parked_with_the_source_and_starts_from_there_with_its_attempts() -> None:
    first, flaky = Flaky(0), Flaky(99)
    result = trial(map(first) | map(flaky) | retry(constant("1h", attempts=3), park="10s"), 1)
    assert (first.calls[1], flaky.calls[1]) == (3, 3)
    assert result.outcomes == {"parked": 2, "dead-lettered": 1}
    assert result.dead_letters["p.dead"][0].metadata.headers["warren-attempts"] == "3"
    assert result.elapsed == pytest.approx(7200, abs=1)


def test_a_custom_policy_is_any_function() -> None:
    asked: list[int] = []

    def policy(failed: int) -> float | None:
        asked.append(failed)
        return 1.0 if failed < 3 else None

    trial(map(Flaky(99)) | retry(policy), 1)
    assert asked == [1, 2, 3]


class Fails:
    """Fails for ever, each value with an error of its own."""

    def __init__(self, errors: Mapping[Any, Exception]) -> None:
        self.errors = errors
        self.calls: Counter[Any] = Counter()

    def __call__(self, value: Any) -> Any:
        self.calls[value] += 1
        raise self.errors[value]


def test_each_type_of_exception_has_its_policy_and_the_first_that_fits_counts() -> None:
    fails = Fails(
        {1: ConnectionError(), 2: TimeoutError(), 3: OSError(), 4: ValueError(), 5: HandlerError("x"), 6: KeyError()}
    )
    policies = {
        ConnectionError: constant("1s", attempts=2),
        (TimeoutError, HandlerError): constant("1s", attempts=3),
        OSError: constant("1s", attempts=4),
        LookupError: constant("1s", attempts=5),
    }
    trial(map(fails) | retry(policies), 1, 2, 3, 4, 5, 6)
    assert fails.calls == {1: 2, 2: 3, 3: 4, 4: 1, 5: 3, 6: 5}


def test_the_attempts_of_a_message_are_counted_whatever_it_failed_with() -> None:
    errors = iter([ConnectionError(), TimeoutError(), ConnectionError(), ConnectionError()])

    def fails(value: int) -> int:
        raise next(errors)

    policies = {ConnectionError: constant("1s", attempts=3), TimeoutError: constant("10s", attempts=9)}
    result = trial(map(fails) | retry(policies), 1)
    assert result.dead_letters["p.dead"][0].metadata.headers["warren-attempts"] == "3"
    assert result.elapsed == pytest.approx(11)


def test_each_type_of_message_has_its_policy() -> None:
    fails = Fails({1: ConnectionError(), "a": ConnectionError(), "b": ValueError(), 2.5: ConnectionError(), None: OSError()})
    of = {str: {ConnectionError: constant("1s", attempts=4)}, (float, list): constant("1s", attempts=1)}
    trial(map(fails) | retry(constant("1s", attempts=2), on=OSError, of=of), 1, "a", "b", 2.5, None)
    assert fails.calls == {1: 2, "a": 4, "b": 1, 2.5: 1, None: 2}
    fails.calls.clear()
    trial(map(fails) | retry(of={str: constant("1s", attempts=3)}, on=ValueError), 1, "a", "b")
    assert fails.calls == {1: 1, "a": 1, "b": 3}


def test_it_says_its_policies_in_its_name() -> None:
    each = {ConnectionError: exponential("1s"), TimeoutError: constant("1m"), OSError: constant("1m")}
    assert retry(each, of={str: linear("2s")}).name == "retry(exponential(1s), constant(1m), linear(2s))"


def test_others_pass_while_one_waits() -> None:
    tries = iter([ConnectionError("busy")])

    def flaky(value: int) -> int:
        if value == 1 and (error := next(tries, None)):
            raise error
        return value

    assert trial(map(flaky) | retry(constant("1s")), 1, 2, 3).values == [2, 3, 1]


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: retry("1s"), "give a policy such as exponential"),
        (lambda: retry(constant(1), on="ConnectionError"), "give an exception type or a tuple of them"),
        (lambda: retry(constant(1), on=()), "give an exception type or a tuple of them"),
        (lambda: retry(constant(1), on=KeyboardInterrupt), "give an exception type or a tuple of them"),
        (lambda: retry(constant(1), park="x"), "'x' is not a duration"),
        (retry, "give a policy such as exponential"),
        (lambda: retry({}), "give a policy such as exponential"),
        (lambda: retry({OSError: 3}), r"retry\(3\): give a policy such as exponential"),
        (lambda: retry({"OSError": constant(1)}), "give an exception type or a tuple of them"),
        (lambda: retry({OSError: constant(1)}, on=ValueError), "the mapping says which exceptions are tried again"),
        (lambda: retry(constant(1), of=str), "give the policy of each type of message"),
        (lambda: retry(constant(1), of={"str": constant(1)}), "give a type of messages, or a tuple of them"),
    ],
)
def test_what_cannot_work_is_refused(build: Any, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        build()
