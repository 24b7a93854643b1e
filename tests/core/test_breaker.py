"""The circuit breaker."""

from __future__ import annotations

from math import inf

import pytest

from warren.core.breaker import Breaker, State


class Clocked:
    def __init__(self, failures: int = 3, cooldown: float = 10, window: float = inf) -> None:
        self.now = 100.0
        self.told: list[State] = []
        self.breaker = Breaker(failures, cooldown, lambda: self.now, self.told.append, window)


def test_it_stays_closed_while_failures_are_not_in_a_row() -> None:
    clocked = Clocked()
    for _ in range(5):
        clocked.breaker.failed()
        clocked.breaker.failed()
        clocked.breaker.succeeded()
    assert (clocked.breaker.state, clocked.breaker.wait, clocked.told) == ("closed", 0, [])


def test_it_opens_after_failures_in_a_row_and_one_attempt_decides() -> None:
    clocked = Clocked()
    breaker = clocked.breaker
    for _ in range(3):
        breaker.attempt()
        breaker.failed()
    assert (breaker.state, breaker.wait) == ("open", 10)
    clocked.now += 4
    assert (breaker.state, breaker.wait) == ("open", 6)
    clocked.now += 6
    assert (breaker.state, breaker.wait) == ("half-open", 0)
    breaker.attempt()
    breaker.failed()
    assert (breaker.state, breaker.wait) == ("open", 10)
    clocked.now += 10
    breaker.attempt()
    breaker.succeeded()
    assert clocked.told == ["open", "half-open", "open", "half-open", "closed"]


def test_it_starts_to_count_anew_once_it_has_closed() -> None:
    clocked = Clocked(failures=2)
    breaker = clocked.breaker
    breaker.failed()
    breaker.failed()
    clocked.now += 10
    breaker.succeeded()
    breaker.failed()
    assert breaker.state == "closed"


@pytest.mark.parametrize("failures", [1, 2, 7])
def test_it_opens_at_the_last_failure_that_is_allowed(failures: int) -> None:
    clocked = Clocked(failures=failures)
    for _ in range(failures - 1):
        clocked.breaker.failed()
    assert clocked.breaker.state == "closed"
    clocked.breaker.failed()
    assert clocked.breaker.state == "open"


def test_failures_longer_ago_than_the_window_count_no_more() -> None:
    clocked = Clocked(failures=3, window=10)
    for pause in (0, 6, 6):
        clocked.now += pause
        clocked.breaker.failed()
    assert clocked.breaker.state == "closed"
    clocked.now += 4
    clocked.breaker.failed()
    assert clocked.breaker.state == "open"


def test_the_attempt_that_decides_opens_it_again_however_long_ago_the_others_failed() -> None:
    clocked = Clocked(failures=2, cooldown=60, window=10)
    clocked.breaker.failed()
    clocked.breaker.failed()
    clocked.now += 100
    clocked.breaker.attempt()
    clocked.breaker.failed()
    assert (clocked.breaker.state, clocked.breaker.wait) == ("open", 60)
