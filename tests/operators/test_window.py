from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench
from warren import Pipeline
from warren.connectors import memory
from warren.core.errors import GraphError, HandlerError
from warren.operators import aggregate, count, exponential, flat_map, map, retry
from warren.operators.window import Window, hopping, session, tumbling, window


def itself(value: Any) -> Any:
    return value


def contents(bench: Bench) -> list[tuple[float, float, list[Any]]]:
    return [(w.start, w.end, w.values) for w in bench.values]


def test_nothing_in_nothing_out() -> None:
    assert Bench(window(tumbling(10), time=itself)).finish().values == []
    assert Bench(window(session(10))).finish().values == []


def test_a_window_closes_when_event_time_passes_its_end() -> None:
    bench = Bench(window(tumbling(10), time=itself)).push(1, 9).push(9.5)
    assert bench.values == []
    bench.push(10)
    assert bench.values == [Window(None, 0.0, 10.0, [1, 9, 9.5])]
    bench.finish()
    assert contents(bench)[1:] == [(10.0, 20.0, [10])]


def test_lateness_waits_for_older_events() -> None:
    bench = Bench(window(tumbling(10), time=itself, lateness="5s")).push(1).push(14).push(2)
    assert bench.values == []
    bench.push(15)
    assert contents(bench) == [(0.0, 10.0, [1, 2])]
    bench.finish()


def test_keys_have_windows_of_their_own_in_order() -> None:
    bench = Bench(window(tumbling(10), by=lambda e: e[0], time=lambda e: e[1]))
    bench.push(("b", 11), ("b", 1), ("a", 2)).finish()
    assert [(w.key, w.end) for w in bench.values] == [("b", 10.0), ("a", 10.0), ("b", 20.0)]


def test_a_value_is_in_several_hopping_windows() -> None:
    bench = Bench(window(hopping(10, every=5), time=itself)).push(7, 12).finish()
    assert contents(bench) == [(0.0, 10.0, [7]), (5.0, 15.0, [7, 12]), (10.0, 20.0, [12])]


def test_a_value_late_for_some_hopping_windows_is_in_the_others() -> None:
    bench = Bench(window(hopping(10, every=5), time=itself)).push(12).push(7).finish()
    assert contents(bench) == [(5.0, 15.0, [12, 7]), (10.0, 20.0, [12])]


def test_sessions_grow_join_and_end() -> None:
    bench = Bench(window(session(10), time=itself, lateness=10)).push(0).push(16).push(8)
    assert bench.values == []
    bench.push(36)
    assert contents(bench) == [(0, 26.0, [0, 16, 8])]
    bench.push(27, 3).finish()
    assert contents(bench)[1:] == [(27, 46.0, [36, 27])]
    assert [f.value for f in bench.failures] == [3]


def test_an_event_a_gap_later_starts_a_session() -> None:
    assert contents(Bench(window(session(10), time=itself)).push(0, 10).finish()) == [(0, 10.0, [0]), (10, 20.0, [10])]


def test_datetimes_tell_time_when_they_have_a_zone() -> None:
    bench = Bench(window(tumbling("1h"), time=itself))
    bench.push(datetime(2013, 1, 1, 5, 30, tzinfo=UTC), datetime(2013, 1, 1)).finish()
    assert [w.start for w in bench.values] == [datetime(2013, 1, 1, 5, tzinfo=UTC).timestamp()]
    assert "which has no time zone; add one" in bench.errors[0]


@pytest.mark.parametrize("time", ["noon", None, True, float("nan"), float("inf")])
def test_what_is_no_time_fails(time: object) -> None:
    bench = Bench(window(tumbling(10), time=lambda e: time if e == 2 else e)).push(1, 2, 3)  # type: ignore[arg-type,return-value]
    assert isinstance(bench.failures[0].error, HandlerError)
    assert contents(bench.finish()) == [(0.0, 10.0, [1, 3])]


def test_functions_that_raise_fail_their_message() -> None:
    bench = Bench(window(tumbling(10), by=lambda e: 1 / (e - 2) > 0, time=lambda e: e / (e - 4) * (e - 4)))
    bench.push(1, 2, 3, 4, 5, attempt=2).finish()
    assert [(f.value, f.attempt) for f in bench.failures] == [(4, 2), (2, 2)]
    assert [(w.key, w.values) for w in bench.values] == [(False, [1]), (True, [3, 5])]
    bench = Bench(window(tumbling(10), by=lambda e: [e])).push(1).finish()  # type: ignore[arg-type]
    assert "answered [1] for 1, which cannot be a key" in bench.errors[0]


def batch_computation(kind: str, size: int, every: int, events: list[tuple[str, int]]) -> list[Any]:
    result: dict[Any, list[Any]] = {}
    if kind == "session":
        for key in {key for key, _ in events}:
            run: list[Any] = []
            for event in sorted(e for e in events if e[0] == key):
                if run and event[1] - run[-1][1] >= size:
                    result[key, run[0][1], run[-1][1] + size] = run
                    run = []
                run.append(event)
            result[key, run[0][1], run[-1][1] + size] = run
    else:
        for event in events:
            for start in range(-1000, 1000):
                if start % every == 0 and start <= event[1] < start + size:
                    result.setdefault((event[0], start, start + size), []).append(event)
    return sorted((end, start, key, sorted(values)) for (key, start, end), values in result.items())


@given(
    st.sampled_from(["tumbling", "hopping", "session"]),
    st.integers(2, 9),
    st.integers(1, 9),
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(-60, 60)), max_size=40),
    st.integers(0, 20),
    st.randoms(use_true_random=False),
)
def test_shuffled_within_lateness_equals_the_batch_computation(
    kind: str, size: int, every: int, events: list[tuple[str, int]], lateness: int, random: Random
) -> None:
    every = size if kind == "tumbling" else min(every, size)
    kinds = {"tumbling": lambda: tumbling(size), "hopping": lambda: hopping(size, every), "session": lambda: session(size)}
    events = sorted(events, key=lambda event: event[1] + random.uniform(0, lateness))
    bench = Bench(window(kinds[kind](), by=lambda e: e[0], time=lambda e: e[1], lateness=lateness))
    rest = list(events)
    while rest:
        count = random.randint(1, 8)
        bench.push(*rest[:count])
        del rest[:count]
    bench.finish()
    assert not bench.failures
    ends = [w.end for w in bench.values]
    assert ends == sorted(ends)
    found = sorted((w.end, w.start, w.key, sorted(w.values)) for w in bench.values)
    assert found == batch_computation(kind, size, every, events)


def test_what_cannot_work_is_refused() -> None:
    for build, says in [
        (lambda: window("1h"), "give a kind of window"),  # type: ignore[call-overload]
        (lambda: tumbling(0), "longer than 0"),
        (lambda: hopping(5, 10), "would be in none"),
        (lambda: window(tumbling(1), lateness=3), "without time= nothing can be late"),
        (lambda: window(tumbling(1), late="drop"), "without time= nothing can be late"),
        (lambda: window(tumbling(1), time=itself, late="keep"), "late='drop'"),  # type: ignore[call-overload]
        (lambda: window(tumbling(1), time=itself, late=map(str)), r"late values must end there.*late=map\(str\) \| sqlite"),  # type: ignore[call-overload]
        (lambda: window(count(5), time=itself), "closes when it is full, whatever the time"),
        (lambda: window(count(5), lateness=3), "without time= nothing can be late"),
        (lambda: window(count()), "or count\\(100\\)"),  # type: ignore[call-overload]
        (lambda: count(every=5), "how many values make a window too"),  # type: ignore[call-overload]
        (lambda: window(tumbling(1), by=3), "give a function"),  # type: ignore[call-overload]
        (lambda: window(tumbling(1), time=itself, idle=0), "idle must be longer"),
    ]:
        with pytest.raises(GraphError, match=says):
            build()  # type: ignore[no-untyped-call]


def test_event_time_waits_for_a_retry_where_some_messages_became_several() -> None:
    calls: list[int] = []

    def copies(number: int) -> list[int]:
        calls.append(number)
        if number == 2 and calls.count(2) == 1:
            raise ConnectionError("once")
        return [number] * (2 if number > 2 else 1)

    tens = flat_map(copies) | retry(exponential("5s")) | window(tumbling(10), time=itself)
    trial = Pipeline("waits", memory.items([]) | tens | memory.into([])).test([1, 2, 35])
    assert [window.values for window in trial.values] == [[1, 2], [35, 35]]
    assert trial.dead_letters == {}


def test_event_time_waits_for_each_part_of_a_message_that_is_tried_again() -> None:
    left = {1: 1, 2: 2}

    def fail(number: int) -> int:
        if left.get(number, 0):
            left[number] -= 1
            raise ConnectionError("not now")
        return number

    parts = flat_map(lambda numbers: numbers) | map(fail) | retry(exponential("5s"))
    tens = parts | window(tumbling(10), time=itself)
    trial = Pipeline("waits", memory.items([]) | tens | memory.into([])).test([[1, 2], [35]])
    assert [window.values for window in trial.values] == [[1, 2], [35]]
    assert trial.dead_letters == {}


def test_functions_must_not_be_async() -> None:
    async def later(value: Any) -> Any:
        return value

    for step in (
        lambda: window(tumbling(10), by=later),
        lambda: window(tumbling(10), time=later),
        lambda: aggregate(by=later, n=count()),
    ):
        with pytest.raises(GraphError, match="later must not be async"):
            step()  # type: ignore[no-untyped-call]
