from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench
from warren import Pipeline, constant
from warren.connectors import memory
from warren.core.errors import GraphError, RetryBudgetError
from warren.operators import budget, dead_letter, map, retry
from warren.operators.budget import Account


def broken(value: Any) -> Any:
    if value == "ok":
        return value
    raise ConnectionError(f"down for {value}")


def test_a_share_of_what_came_may_be_tried_again() -> None:
    account = Account(budget(0.2, minimum=0), lambda: 0.0)
    assert not account.spend()
    account.came(10)
    assert [account.spend() for _ in range(3)] == [True, True, False]


def test_a_few_a_second_may_be_tried_again_whatever_came() -> None:
    account = Account(budget(0, minimum=0.2, window="10s"), lambda: 0.0)
    assert [account.spend() for _ in range(3)] == [True, True, False]


def test_what_is_older_than_the_window_counts_no_more() -> None:
    now = 1000.0
    account = Account(budget(0.1, minimum=0, window="10s"), lambda: now)
    account.came(20)
    assert [account.spend(), account.spend(), account.spend()] == [True, True, False]
    now = 1008.9
    account.came(10)
    assert account.spend() and not account.spend()
    now = 1010.5
    assert (account.spend(), account.messages, account.retries) == (False, 10, 1)
    now = 5000.0
    assert (account.spend(), account.messages, account.retries) == (False, 0, 0)


def test_a_clock_that_is_set_back_gives_nothing_back() -> None:
    now = 1000.0
    account = Account(budget(0.1, minimum=0), lambda: now)
    account.came(10)
    assert account.spend()
    now = 10.0
    assert not account.spend()


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 20), st.integers(0, 20)), max_size=30))
def test_nothing_is_tried_again_beyond_what_the_budget_says(steps: list[tuple[float, int, int]]) -> None:
    now, came, spent = 0.0, [(0.0, 0)], [(0.0, 0)]
    account = Account(budget(0.5, minimum=1, window="10s"), lambda: now)
    for wait, count, tries in steps:
        now += wait
        account.came(count)
        came.append((now, count))
        spent.append((now, sum(account.spend() for _ in range(tries))))
        messages = sum(n for at, n in came if at > now - 10)
        if spent[-1][1]:
            assert sum(n for at, n in spent if at > now - 9) <= 0.5 * messages + 10
        assert account.messages <= messages


def test_what_is_not_tried_again_says_so_and_with_what_it_failed() -> None:
    bench = Bench(map(broken) | retry(constant("1s"), budget=budget(0.5, minimum=0))).push("ok", "ok")
    bench.push("a", "b")
    assert bench.failures == []
    bench.push("c", attempt=1)
    (failure,) = bench.failures
    assert isinstance(failure.error, RetryBudgetError)
    assert isinstance(failure.error.__cause__, ConnectionError)
    assert bench.errors[0] == (
        "retry(constant(1s)): not tried again, as the retry budget is spent: of 5 message(s) in the last 10 s, 2 were tried "
        "again; it failed with ConnectionError('down for c')"
    )
    bench.wait(1)
    assert len(bench.failures) == 3
    bench.finish()


def test_retries_are_no_new_messages() -> None:
    bench = Bench(map(broken) | retry(constant("1s", attempts=99), budget=budget(0.1, minimum=0.5)))
    bench.push("x")
    bench.wait(20)
    # Five in ten seconds; the first message stands for none.
    assert len(bench.failures) == 1
    assert bench.failures[0].attempt == 6
    bench.finish()


def test_each_run_has_a_budget_of_its_own_and_a_later_retry_may_take_what_is_left() -> None:
    steps = map(broken) | retry(constant("1s", attempts=2), budget=budget(0, minimum=0.1))
    flow = memory.items([]) | steps | dead_letter("spent", on=RetryBudgetError) | memory.into([])
    for _ in range(2):
        trial = Pipeline("p", flow).test(["a", "b", "c"])
        assert [letter.value for letter in trial.dead_letters["spent"]] == ["b", "c"]
        assert [letter.error for letter in trial.dead_letters["p.dead"]] == ["ConnectionError"]
        assert "the retry budget is spent" in trial.dead_letters["spent"][0].reason
    calls: list[Any] = []

    def twice(value: Any) -> Any:
        calls.append(value)
        if calls.count(value) < 2:
            raise ConnectionError("busy")
        return value

    later = map(twice) | retry(constant("1s"), budget=budget(0, minimum=0)) | retry(constant("1h"))
    trial = Pipeline("p", memory.items([]) | later | memory.into([])).test(["a"])
    assert (trial.values, trial.outcomes) == (["a"], {"parked": 1, "delivered": 1})


def test_nothing_comes_of_nothing_and_success_costs_nothing() -> None:
    bench = Bench(map(broken) | retry(constant("1s"), budget=budget(0, minimum=0))).push().push("ok").finish()
    assert bench.values == ["ok"]


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: budget(-1), "ratio must be a number from 0, such as 0.1"),
        (lambda: budget("10%"), "ratio must be a number from 0"),  # type: ignore[arg-type]
        (lambda: budget(minimum=-1), "minimum must be a number from 0, such as 10"),
        (lambda: budget(window=0), "give a duration longer than 0"),
        (lambda: retry(constant(1), budget=0.1), r"write budget=budget\(0.1\)"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_work_is_refused(build: Any, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        build()
