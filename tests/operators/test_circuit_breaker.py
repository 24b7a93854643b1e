from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench
from warren import Pipeline
from warren.connectors import memory
from warren.core.breaker import Switch
from warren.core.errors import CircuitOpenError, GraphError
from warren.operators import circuit_breaker, constant, delay, filter, map, retry
from warren.pipelines import Trial


class Service:
    """Answers, or raises what it was told to."""

    __name__ = "ask"

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.calls: list[Any] = []

    def __call__(self, value: Any) -> Any:
        self.calls.append(value)
        if self.error is not None:
            raise self.error
        return value


def bench(**options: Any) -> tuple[Service, Bench]:
    service = Service()
    return service, Bench(circuit_breaker(map(service), **options))


def kinds(bench: Bench) -> list[str]:
    return [type(failure.error).__name__ for failure in bench.failures]


def trial(step: Any, values: Iterable[Any]) -> Trial:
    return Pipeline("p", memory.items([]) | step | memory.into([])).test(list(values))


def test_while_calls_go_well_it_does_nothing() -> None:
    service, test = bench()
    test.push().push(1).push(2, 3, attempt=2)
    assert (service.calls, test.values, [chunk.attempt for chunk in test.out]) == ([1, 2, 3], [1, 2, 3], [1, 2])
    test.finish()


def test_a_switch_opens_it_by_hand_and_leaves_it_as_it_was() -> None:
    switch = Switch()
    service, test = bench(failures=2, switch=switch)
    service.error = ConnectionError("busy")
    test.push(1)
    switch.open = True
    test.push(2, 3)
    switch.open = False
    test.push(4).push(5)
    # What was not tried counts as no failure: the second one opens it.
    assert service.calls == [1, 4]
    assert kinds(test) == ["ConnectionError", "CircuitOpenError", "CircuitOpenError", "ConnectionError", "CircuitOpenError"]


class Watching:
    """An observer that is told of circuits."""

    def __init__(self) -> None:
        self.states: list[str] = []

    def open(self, pipeline: str) -> None:
        pass

    def settled(self, *args: object) -> None:
        pass

    def handled(self, *args: object) -> None:
        pass

    def switched(self, stage: str, state: str) -> None:
        self.states.append(state)

    def close(self) -> None:
        pass


def test_observers_are_told_that_it_was_opened_by_hand_and_closed() -> None:
    switch, watching = Switch(), Watching()
    switch.open = True

    def ask(value: int) -> int:
        if value in (3, 7):
            switch.open = value == 3
        return value

    step = map(ask) | circuit_breaker(map(lambda value: value), switch=switch)
    flow = memory.items([]) | step | memory.into([])
    Pipeline("p", flow, observers=[watching]).test([0, 5, 3, 3, 7, 7])
    # Told at the start and at each change, and no more once the run is over.
    assert watching.states == ["open", "closed"]
    switch.open = True
    assert len(watching.states) == 2


def test_after_failures_in_a_row_no_call_is_made() -> None:
    service, test = bench(failures=3)
    service.error = ConnectionError("busy")
    test.push(1, 2).push(3, 4).push(5)
    assert service.calls == [1, 2, 3]
    assert kinds(test) == ["ConnectionError"] * 3 + ["CircuitOpenError"] * 2
    assert test.errors[-1] == (
        "circuit_breaker(map(ask)): the circuit is open: calls failed, the last one with ConnectionError('busy'); "
        "none is made for another 10 s; a retry behind this step tries such messages again"
    )
    assert test.failures[-1].error.__cause__ is service.error
    test.finish()


def test_failures_that_are_not_in_a_row_do_not_open_it() -> None:
    service, test = bench(failures=2)
    for value in range(6):
        service.error = ConnectionError("busy") if value % 2 else None
        test.push(value)
    assert service.calls == list(range(6))
    test.finish()


def test_failures_longer_ago_than_the_window_do_not_count() -> None:
    service, test = bench(failures=2, window="5s")
    service.error = ConnectionError("busy")
    for value in range(4):
        test.push(value).wait(6)
    assert service.calls == list(range(4))
    test.push(4, 5, 6)
    assert service.calls == [0, 1, 2, 3, 4, 5]
    test.finish()


def test_after_the_cooldown_one_call_that_goes_well_closes_it() -> None:
    service, test = bench(failures=1, cooldown="10s")
    service.error = ConnectionError("busy")
    test.push(1).wait(9.9).push(2)
    service.error = None
    test.wait(0.1).push(3, 4)
    assert (service.calls, test.values) == ([1, 3, 4], [3, 4])
    test.finish()


def test_after_the_cooldown_one_call_that_fails_keeps_it_open_for_another() -> None:
    service, test = bench(failures=5, cooldown="10s")
    service.error = ConnectionError("busy")
    test.push(*range(5)).wait(10).push(5, 6, 7)
    assert service.calls == [0, 1, 2, 3, 4, 5]
    test.wait(9.9).push(8).wait(0.1)
    service.error = None
    test.push(9)
    assert (service.calls[-2:], test.values) == ([5, 9], [9])
    test.finish()


def test_only_the_named_exceptions_open_it_and_others_count_as_answers() -> None:
    service, test = bench(failures=2, on=ConnectionError)
    for error in (ConnectionError("a"), ValueError("b"), ConnectionError("c"), ConnectionError("d")):
        service.error = error
        test.push(str(error))
    test.push("e")
    assert service.calls == ["a", "b", "c", "d"]
    assert kinds(test) == ["ConnectionError", "ValueError", "ConnectionError", "ConnectionError", "CircuitOpenError"]
    test.finish()


def test_earlier_failures_pass_it_by_and_do_not_count() -> None:
    service = Service()
    test = Bench(map(lambda x: 1 / x) | circuit_breaker(map(service), failures=1)).push(0, 0, 1)
    assert (service.calls, kinds(test)) == ([1.0], ["ZeroDivisionError"] * 2)
    test.finish()


@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=60), st.integers(1, 3))
def test_it_makes_the_calls_that_a_plain_model_makes(steps: list[tuple[int, bool]], failures: int) -> None:
    service, test = bench(failures=failures, window=8, cooldown=4)
    made: list[int] = []
    row: list[int] = []
    opened: int | None = None
    now = 0
    for number, (pause, fails) in enumerate(steps):
        test.wait(pause)
        now += pause
        service.error = OSError("no") if fails else None
        if opened is None or now >= opened + 4:
            made.append(number)
            row = [*row, now] if fails else []
            if fails and (opened is not None or (len(row) >= failures and now - row[-failures] <= 8)):
                opened = now
            elif not fails:
                opened = None
        test.push(number)
    assert service.calls == made
    test.finish()


async def answer(value: tuple[float, bool]) -> float:
    time, fails = value
    await asyncio.sleep(time)
    if fails:
        raise ConnectionError(f"busy at {time:g}")
    return time


def reasons(result: Trial) -> list[str]:
    return sorted(letter.error for letter in result.dead_letters.get("p.dead", []))


def test_what_waits_for_a_worker_is_not_called_once_it_is_open() -> None:
    calls: list[int] = []

    async def ask(value: int) -> int:
        calls.append(value)
        await asyncio.sleep(1)
        raise ConnectionError("busy")

    result = trial(circuit_breaker(map(ask, concurrency=2), failures=3), range(20))
    assert len(calls) == 4
    assert reasons(result) == ["CircuitOpenError"] * 16 + ["ConnectionError"] * 4


def test_calls_that_were_under_way_when_it_opened_do_not_close_it() -> None:
    guarded = circuit_breaker(map(answer, ordered=False), failures=2, cooldown="100s")
    late = delay(lambda value: value[2] if len(value) > 2 else 0) | map(lambda value: value[:2])
    result = trial(late | guarded, [(1, True), (1, True), (5, False), (0, False, 10)])
    assert result.values == [5]
    assert reasons(result) == ["CircuitOpenError", "ConnectionError", "ConnectionError"]


def test_half_open_lets_one_call_through_at_a_time() -> None:
    calls: list[int] = []

    async def ask(value: int) -> int:
        calls.append(value)
        await asyncio.sleep(1)
        if value == 0:
            raise ConnectionError("busy")
        return value

    late = delay(lambda value: 0 if value == 0 else 20 if value < 4 else 25)
    result = trial(late | circuit_breaker(map(ask), failures=1, cooldown="10s"), range(6))
    assert calls == [0, 1, 4, 5]
    assert result.values == [1, 4, 5]
    letters = {letter.value: letter.reason for letter in result.dead_letters["p.dead"]}
    assert "one is on its way to find out" in letters[2]


@pytest.mark.parametrize(("on", "calls"), [(Exception, 2), (TimeoutError, 2), (ValueError, 4)])
def test_a_call_that_its_timeout_cuts_off_has_failed_with_a_timeout(on: Any, calls: int) -> None:
    made: list[int] = []

    async def ask(value: int) -> None:
        made.append(value)
        await asyncio.sleep(60)

    result = trial(circuit_breaker(map(ask, concurrency=1, timeout="1s"), failures=2, on=on), range(4))
    assert len(made) == calls
    assert reasons(result) == sorted(["TimeoutError"] * calls + ["CircuitOpenError"] * (4 - calls))


def test_a_retry_behind_it_goes_through_the_circuit_again() -> None:
    service = Service()
    service.error = ConnectionError("busy")

    def ask(value: int) -> int:
        if len(service.calls) == 2:
            service.error = None
        return service(value)  # type: ignore[no-any-return]

    guarded = circuit_breaker(map(ask), failures=2, cooldown="10s") | retry(constant("4s"))
    result = trial(guarded, [1, 2, 3])
    assert sorted(result.values) == [1, 2, 3]
    # Nothing is asked at 4 and 8 s; from 12 s on it answers.
    assert service.calls[:2] == [1, 2] and len(service.calls) == 5
    assert result.elapsed == pytest.approx(12)


def test_each_run_counts_by_itself() -> None:
    service = Service()
    service.error = ConnectionError("busy")
    pipeline = Pipeline("p", memory.items([]) | circuit_breaker(map(service), failures=1) | memory.into([]))
    pipeline.test([1, 2])
    pipeline.test([3, 4])
    assert service.calls == [1, 3]


def test_the_options_of_the_map_stay() -> None:
    values = [(3.0, False), (1.0, False), (1.0, False)]
    assert trial(circuit_breaker(map(answer, concurrency=2)), values).values == [3, 1, 1]
    assert trial(circuit_breaker(map(answer, order_by=lambda value: value[0])), values).values == [1, 1, 3]
    text = str(Pipeline("p", memory.queue("in") | circuit_breaker(map(answer)) | memory.queue("out")).explain())
    assert "circuit_breaker(map(answer))" in text
    assert "fails at once while calls fail, 16 at once, order kept" in text


def test_a_coroutine_out_of_a_plain_function_is_refused_as_by_map() -> None:
    result = trial(circuit_breaker(map(lambda value: answer((0, False)))), [1])
    assert reasons(result) == ["HandlerError"]


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: circuit_breaker(len), r"circuit_breaker\(<built-in function len>\): give the one map that makes the calls"),
        (lambda: circuit_breaker(map(len, executor="thread")), "the one map that makes the calls, without executor"),
        (lambda: circuit_breaker(filter(len)), r"circuit_breaker\(filter\(len\)\): give the one map"),
        (lambda: circuit_breaker(map(len) | map(str)), r"circuit_breaker\(map\(len\) | map\(type\)\): give the one map"),
        (lambda: circuit_breaker(map(len), failures=0), "failures must be a whole number of at least 1"),
        (lambda: circuit_breaker(map(len), failures=True), "failures must be a whole number of at least 1"),
        (lambda: circuit_breaker(map(len), window=0), "give a duration longer than 0"),
        (lambda: circuit_breaker(map(len), cooldown="soon"), "'soon' is not a duration"),
        (lambda: circuit_breaker(map(len), on=5), "give an exception type or a tuple of them"),
    ],
)
def test_what_cannot_work_is_refused(build: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        build()


def test_the_error_is_not_one_of_the_message() -> None:
    assert not issubclass(CircuitOpenError, ConnectionError)
