"""The circuit breaker."""

from __future__ import annotations

import pytest

from warren.connectors.rabbitmq.breaker import Breaker, State


class Clocked:
    def __init__(self, failures: int = 3, cooldown: float = 10) -> None:
        self.now = 100.0
        self.told: list[State] = []
        self.breaker = Breaker(failures, cooldown, lambda: self.now, self.told.append)


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
