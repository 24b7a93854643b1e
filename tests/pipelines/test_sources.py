"""Sources that are merged, and the event time of the steps behind them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from warren import Pipeline, constant
from warren.connectors import memory, sqlite
from warren.core.errors import StalledError
from warren.core.graph import Operator
from warren.operators import dead_letter, map, merge, retry, tumbling, window
from warren.testing import fail, play, slow

TENS: Operator[Any, Any] = window(tumbling(10), time=float) | map(lambda window: window.values)


def two(*steps: Any, before: Any = None, **options: Any) -> Pipeline:
    """Windows over what comes from `fast` and `slow`."""
    second: Any = memory.queue("slow")
    flow: Any = merge(memory.queue("fast"), second if before is None else second | before)
    for step in steps or (TENS,):
        flow = flow | step
    return Pipeline("two", flow | memory.into([]), **options)


def given(fast: str, slow: str) -> dict[str, str]:
    return {"memory:fast": fast, "memory:slow": slow}


TIMES = {"a": 1, "b": 12, "c": 25, "x": 2, "y": 13, "z": 26}


def happened(pipeline: Pipeline, fast: str, slow: str) -> list[tuple[float, Any]]:
    return [(each.at, each.value) for each in play(pipeline, given(fast, slow), values=TIMES).happened]


def test_a_window_waits_for_the_source_furthest_behind() -> None:
    assert happened(two(), "abc------|", "---x-y-z-|") == [(5, [1, 2]), (7, [12, 13]), (9, [25, 26])]


def test_a_source_that_is_silent_is_waited_for_so_long() -> None:
    assert happened(two(), "abc 20s c 20s c 10s |", "60s |") == [(30, [1]), (30, [12]), (60, [25, 25, 25])]
    assert happened(two(), "abc 40s |", "60s |") == [(30, [1]), (30, [12]), (32, [25])]


def test_a_source_that_has_ended_is_waited_for_no_more() -> None:
    assert happened(two(), "a---b---|", "x|") == [(4, [1, 2]), (8, [12])]


def test_what_an_ended_source_gave_last_is_waited_for() -> None:
    pipeline = two(before=map(slow("3s")(lambda value: value), concurrency=4))
    assert happened(pipeline, "a-b--c---|", "x|") == [(3, [1, 2]), (5, [12]), (9, [25])]


def test_a_step_before_the_merge_has_its_own_source_alone() -> None:
    assert happened(two(map(lambda value: value), before=TENS), "|", "xyz-----|") == [(1, [2]), (2, [13]), (8, [26])]


def test_nested_merges_have_the_sources_inside_them() -> None:
    inner: Any = merge(memory.queue("fast"), memory.queue("slow")) | TENS
    pipeline = Pipeline("nested", merge(memory.queue("other"), inner) | memory.into([]))
    assert happened(pipeline, "abc----|", "---x-y-|") == [(5, [1, 2]), (7, [12, 13]), (7, [25])]


def test_a_retried_message_of_one_source_is_waited_for() -> None:
    flaky: Any = map(fail(nth=1, error=ConnectionError)(lambda value: value))
    pipeline = two(TENS, before=flaky | retry(constant("4s")))
    assert happened(pipeline, "abc------|", "xyz------|") == [(4, [1, 2]), (4, [12, 13]), (9, [25, 26])]


def test_a_source_that_fell_behind_by_more_than_idle_is_late() -> None:
    pipeline = two(TENS, dead_letter("late"))
    played = play(pipeline, given("abc 35s |", "34s x|"), values=TIMES)
    assert [letter.value for letter in played.trial.dead_letters["late"]] == [2]


def test_credit_that_the_fast_source_has_used_up_comes_back_when_the_slow_one_is_silent() -> None:
    assert happened(two(credit=3), "abc(aabbc) 35s |", "33s xy|")[:2] == [(30, [1]), (30, [12])]
    endless = window(tumbling(10), time=float, idle=None)
    with pytest.raises(StalledError, match="all 3 credits"):
        happened(two(endless, credit=3), "abc(aabbc) 35s |", "33s xy|")


def fed(folder: Path, name: str, *values: int) -> sqlite.Queue[Any]:
    queue = sqlite.queue(folder / "q.db", name, int)
    Pipeline("feed", memory.items(values) | queue).run()
    return queue


def drained(queue: sqlite.Queue[Any]) -> list[Any]:
    out: list[Any] = []
    Pipeline("drain", queue | memory.into(out)).run(until_empty=True)
    return out


def test_real_queues_of_different_speeds(tmp_path: Path) -> None:
    out: list[Any] = []
    steps = map(slow("1ms")(lambda value: value), concurrency=1) | TENS
    fast, slower = fed(tmp_path, "fast", *range(0, 3_000, 3)), fed(tmp_path, "slow", *range(1, 3_000, 30))
    Pipeline("two", merge(fast, slower | map(lambda n: n)) | steps | memory.into(out)).run(until_empty=True)
    assert sorted(n for values in out for n in values) == sorted([*range(0, 3_000, 3), *range(1, 3_000, 30)])
    assert len(out) == 300


def test_with_state_event_time_goes_on_and_never_back(tmp_path: Path) -> None:
    out: list[Any] = []

    def run(fast: list[int], slow: list[int], **options: Any) -> list[Any]:
        out.clear()
        merged = merge(fed(tmp_path, "fast", *fast), fed(tmp_path, "slow", *slow))
        steps = window(tumbling(10), time=float, **options) | map(lambda window: sorted(window.values))
        flow = merged | steps | dead_letter("late") | memory.into(out)
        Pipeline("two", flow, state=tmp_path / "two.state").run(until_empty=True)
        return sorted(out)

    assert run([1, 12, 25], [2, 13]) == [[1, 2]]
    # The next run has heard of neither source yet: what was closed stays closed, what is open waits for both.
    assert run([31], [5]) == []
    assert run([33], [31]) == [[12, 13], [25]]
    assert drained(sqlite.queue(tmp_path / "q.db", "late", int)) == [5]


def test_with_state_late_values_go_to_their_sink_once_and_are_acknowledged(tmp_path: Path) -> None:
    out: list[Any] = []
    late = sqlite.queue(tmp_path / "q.db", "late", int)

    def run(*values: int) -> None:
        steps = window(tumbling(10), time=float, late=map(lambda n: -n) | late) | map(lambda window: window.values)
        flow = fed(tmp_path, "in", *values) | steps | memory.into(out)
        Pipeline("late", flow, state=tmp_path / "late.state", credit=10).run(until_empty=True)

    run(1, 12)
    run(3, 13)
    run(4, 25)
    assert out == [[1], [12, 13]]
    assert drained(late) == [-3, -4]
    assert drained(sqlite.queue(tmp_path / "q.db", "in", int)) == []


def test_it_ends_while_a_source_is_waited_for(tmp_path: Path) -> None:
    out: list[Any] = []
    fast = fed(tmp_path, "fast", 1, 12, 25)

    async def main() -> None:
        empty, came = sqlite.queue(tmp_path / "q.db", "slow", int), asyncio.Event()
        source = merge(fast | map(lambda n: (n == 25 and came.set()) or n), empty)
        running = Pipeline("two", source | TENS | memory.into(out)).start()
        async with asyncio.timeout(20):
            await came.wait()
            assert out == []
            running.stop()
            await running

    asyncio.run(main())
    assert out == [[1], [12], [25]]


def test_a_source_that_is_ahead_leaves_the_credit_to_the_one_behind_whatever_their_priorities() -> None:
    out: list[Any] = []
    dense, sparse = memory.items(n / 20 for n in range(20_000)), memory.items(float(n) for n in range(1_000))
    step = window(tumbling(10), time=float, idle="1s") | map(lambda window: len(window.values))
    Pipeline("p", merge(dense, sparse, priorities=[1, 9]) | step | memory.into(out), credit=900).run()
    assert out == [210] * 100
