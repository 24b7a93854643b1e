from __future__ import annotations

import functools
import math
import operator
import os
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.operators.fake import Bench
from warren import Pipeline, constant
from warren.connectors import memory
from warren.core.errors import GraphError
from warren.core.graph import Operator
from warren.operators import map, retry
from warren.operators.pool import pooled
from warren.pipelines import Trial

# Functions that another process can import, whichever way the tests are started.
negative = operator.neg
call = operator.call
die = functools.partial(os._exit, 3)


def trial(step: Operator[Any, Any], *values: Any) -> Trial:
    return Pipeline("p", memory.items([]) | step | memory.into([])).test(values)


def reasons(result: Trial) -> list[tuple[str, str]]:
    return [(letter.error, letter.reason) for letter in result.dead_letters.get("p.dead", [])]


def test_nothing_starts_no_worker() -> None:
    bench = Bench(map(negative, executor="process")).push().finish()
    for close in bench.run.closes:
        close()


def test_processes_compute_in_order() -> None:
    result = trial(map(negative, executor="process", workers=2), *range(200))
    assert result.values == [-i for i in range(200)]
    assert result.outcomes == {"delivered": 200}


def test_in_a_process_each_failure_is_one_messages() -> None:
    class Local:
        pass

    values = [
        functools.partial(abs, -1),
        functools.partial(int, "x"),
        Local,
        functools.partial(next, iter([])),
        functools.partial(threading.Lock),
        functools.partial(abs, -2),
    ]
    result = trial(map(call, executor="process", workers=1), *values)
    assert result.values == [1, 2]
    assert [kind for kind, _ in reasons(result)] == ["ValueError", "HandlerError", "RuntimeError", "TypeError"]
    assert "invalid literal for int()" in reasons(result)[0][1]
    assert "cannot be sent to another process" in reasons(result)[1][1]
    assert "cannot pickle" in reasons(result)[3][1]


def test_a_function_that_another_process_does_not_find_fails_each_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def here_only(value: int) -> int:
        return value

    here_only.__module__, here_only.__qualname__ = "math", "here_only"
    monkeypatch.setattr(math, "here_only", here_only, raising=False)
    result = trial(map(here_only, executor="process", workers=1), 1, 2)
    assert [kind for kind, _ in reasons(result)] == ["HandlerError"] * 2
    assert "the function cannot be imported in another process" in reasons(result)[0][1]


def test_a_worker_that_dies_fails_the_message_it_dies_of() -> None:
    values = [functools.partial(abs, -i) for i in range(1, 6)]
    result = trial(map(call, executor="process", workers=2), *values[:3], die, *values[3:], die)
    assert result.values == [1, 2, 3, 4, 5]
    assert [kind for kind, _ in reasons(result)] == ["BrokenProcessPool"] * 2
    assert "1:map(call): the process that worked on functools.partial(" in reasons(result)[0][1]
    assert "died; it may need more memory" in reasons(result)[0][1]


def test_the_pool_is_made_anew_and_a_retry_may_try_again() -> None:
    flow = map(call, executor="process", workers=1) | retry(constant("1s", attempts=2))
    result = trial(flow, die, functools.partial(abs, -1))
    assert result.values == [1]
    assert result.outcomes == {"dead-lettered": 1, "delivered": 1}


def test_threads_work_at_the_same_time_and_keep_the_order() -> None:
    together = threading.Barrier(3)

    def meet(value: int) -> tuple[int, bool]:
        together.wait(10)
        return value, threading.current_thread() is not threading.main_thread()

    result = trial(map(meet, executor="thread", workers=3), 1, 2, 3)
    assert result.values == [(1, True), (2, True), (3, True)]


@settings(max_examples=20)
@given(st.lists(st.integers(0, 5), max_size=80), st.integers(1, 3))
def test_threads_equal_a_loop(values: list[int], workers: int) -> None:
    result = trial(map(lambda x: 60 // x, executor="thread", workers=workers), *values)
    assert result.values == [60 // x for x in values if x]
    assert len(reasons(result)) == values.count(0)


def test_a_coroutine_as_the_answer_is_refused() -> None:
    async def later() -> int:
        return 1

    result = trial(map(lambda x: later(), executor="thread", workers=1), 1)
    assert reasons(result)[0][0] == "HandlerError"
    assert "write it as an async def" in reasons(result)[0][1]


def test_a_retry_in_threads() -> None:
    answers = iter([ConnectionError("busy"), 5])

    def ask(value: int) -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert trial(map(ask, executor="thread", workers=1) | retry(constant("1s")), 1).values == [5]


def test_the_threads_are_gone_after_the_run() -> None:
    trial(map(negative, executor="thread", workers=2), *range(100))
    for thread in threading.enumerate():
        if thread.name.startswith("warren"):
            thread.join(10)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("warren")]


def test_names() -> None:
    step = map(negative, executor="process", workers=3)
    assert (step.name, step.guarantee) == ("map(neg)", "3 processes, order kept")
    assert map(negative, executor="thread", workers=3).guarantee == "3 threads, order kept"
    assert "processes" in pooled(negative, "neg", "process", None).guarantee


def test_what_cannot_work_is_refused() -> None:
    async def later(value: int) -> int:
        return value

    for function, arguments, says in [
        (lambda x: x, {"executor": "process"}, "cannot be sent to another process: .*; define it at the top level"),
        (len, {"executor": "gpu"}, r"map\(len, executor='gpu'\): executor must be 'process' or 'thread'"),
        (len, {"workers": 2}, "executor must be 'process' or 'thread'"),
        (len, {"executor": "thread", "workers": 0}, "workers must be a whole number of at least 1"),
        (later, {"executor": "thread"}, "later is async, and runs many calls at once as it is; leave executor out"),
        (len, {"executor": "thread", "timeout": 1}, "timeout is for async functions and does not go with an executor"),
        (len, {"executor": "thread", "ordered": False}, "ordered is for async functions and does not go with an executor"),
        (len, {"executor": "thread", "order_by": len}, "order_by is for async functions and does not go with an executor"),
        (len, {"executor": "thread", "priority": len}, "priority is for async functions and does not go with an executor"),
        (len, {"workers": 2, "limit_by": len, "limit": 1}, "does not go with an executor; leave one of them out"),
    ]:
        with pytest.raises(GraphError, match=says):
            map(function, **arguments)  # type: ignore[call-overload]
