"""Bad handlers, keys, clocks and state files, over all operators: one message fails, or the run ends, with a sentence.

A handler may change the value it is given: then a retry, and the steps of other branches, see the changed value; the message
itself stays as its source has it, so a dead letter or a redelivery has the original.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from warren import Pipeline, constant
from warren.connectors import memory, sqlite
from warren.connectors.sqlite.state import StateFile
from warren.core.errors import GraphError, ShutdownError, StateError, StorageError
from warren.core.graph import Operator, Source
from warren.operators import (
    aggregate,
    batch,
    broadcast,
    collect,
    count,
    custom,
    debounce,
    deduplicate,
    delay,
    distinct,
    distinct_until_changed,
    enrich,
    fallback,
    filter,
    flat_map,
    for_each,
    join,
    join_table,
    last,
    map,
    retry,
    route,
    sample,
    scan,
    split,
    tap,
    timeout,
    total,
    tumbling,
    window,
)

ROOT = Path(__file__).parents[2]
Handler = Callable[[Any], Any]


def always(value: Any) -> Any:
    raise ConnectionError("always")


async def found(keys: list[Any]) -> list[Any]:
    return keys


HANDLERS: dict[str, Callable[[Handler], Operator[Any, Any]]] = {
    "map": map,
    "filter": filter,
    "flat_map": flat_map,
    "tap": tap,
    "scan": lambda f: scan(lambda state, value: f(value), 0),
    "scan by": lambda f: scan(lambda state, value: f(value), 0, by=lambda value: 1),
    "route": lambda f: route(f, {1: map(str)}, default=map(repr)),
    "split": lambda f: split(f, map(str), map(repr)),
    "fallback": lambda f: map(always) | fallback(lambda value, error: f(value), on=ConnectionError),
    "for_each": lambda f: map(lambda value: [value, value]) | for_each(map(f)),
    "enrich into": lambda f: enrich(found, key=lambda value: value, into=lambda value, answer: f(value)),
    "delay": delay,
    "timeout": lambda f: timeout(map(f), "1m"),
    "figure": lambda f: aggregate(by=lambda value: 1, sum=total(f)),
    "figures": lambda f: aggregate(by=lambda value: 1, all=collect(f), last=last(f)),
    "figure of a window": lambda f: window(tumbling("1m")) | aggregate(last=last(f)),
    "custom figure": lambda f: aggregate(by=lambda value: 1, sum=custom(0, lambda state, value: f(value))),
}
KEYS: dict[str, Callable[[Handler], Operator[Any, Any]]] = {
    "batch": lambda f: batch(10, "1s", by=f) | flat_map(list),
    "scan": lambda f: scan(lambda state, value: value, 0, by=f),
    "aggregate": lambda f: aggregate(by=f, n=count()),
    "window": lambda f: window(tumbling("1m"), by=f) | flat_map(lambda held: held.values),
    "deduplicate": deduplicate,
    "distinct": distinct,
    "distinct_until_changed": lambda f: distinct_until_changed(by=f),
    "debounce": lambda f: debounce("1s", by=f),
    "sample": lambda f: sample("1s", by=f),
    "enrich": lambda f: enrich(found, key=f, into=lambda value, answer: value),
    "map order_by": lambda f: map(_asynchronous, concurrency=2, order_by=f),
}
BOTH = {f"{name} (key)": make for name, make in KEYS.items()} | HANDLERS


async def _asynchronous(value: Any) -> Any:
    return value


async def _coroutine() -> int:
    return 1


def run(step: Operator[Any, Any], state: Any = None) -> Any:
    trial = Pipeline("p", memory.items([]) | step | memory.into([]), state=state).test([1, 2, 3], at=[0, 100, 200])
    gc.collect()  # a coroutine that nobody awaited would warn
    return trial


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("name", BOTH)
def test_a_handler_that_raises_fails_its_message_alone(name: str, kept: bool) -> None:
    def work(value: Any) -> Any:
        if value == 2:
            raise KeyError("two")
        return [value] if name == "flat_map" else value

    trial = run(BOTH[name](work), memory.state() if kept else None)
    assert [(letter.value, letter.error) for letter in trial.dead_letters["p.dead"]] == [(2, "KeyError")]
    assert len(trial.values) == 2


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("answer", [lambda: (each for each in [1]), lambda: None, object, "coroutine"])
def test_whatever_a_handler_answers_every_message_ends_well_or_as_a_dead_letter(name: str, kept: bool, answer: Any) -> None:
    made = _coroutine if answer == "coroutine" else answer

    def work(value: Any) -> Any:
        return made() if value == 2 else [value] if name == "flat_map" else value

    try:
        trial = run(BOTH[name](work), memory.state() if kept else None)
    except StateError as error:
        # What cannot be kept ends the run, and nothing of it is acknowledged.
        if not kept or "cannot be kept" not in str(error):
            raise
        return
    letters = trial.dead_letters.get("p.dead", [])
    assert [letter.value for letter in letters] in ([], [2])
    assert len(trial.values) + len(letters) in (2, 3)
    for letter in letters:
        assert len(letter.reason) > 20 and letter.stage


@pytest.mark.parametrize("name", KEYS)
def test_a_key_that_cannot_be_hashed_fails_its_message_with_the_key(name: str) -> None:
    trial = run(KEYS[name](lambda value: [value] if value == 2 else value))
    (letter,) = trial.dead_letters["p.dead"]
    assert (letter.value, len(trial.values)) == (2, 2)
    assert "[2]" in letter.reason and "key" in letter.reason


@pytest.mark.parametrize("name", [name for name in KEYS if name != "enrich"])  # there it is looked up
def test_none_is_a_key_as_any_other(name: str) -> None:
    trial = run(KEYS[name](lambda value: None if value == 2 else value))
    assert (trial.dead_letters, len(trial.values)) == ({}, 3)


@pytest.mark.parametrize("name", BOTH)
def test_a_function_that_is_async_where_none_may_be_is_refused_or_awaited(name: str) -> None:
    async def work(value: Any) -> Any:
        return [value] if name == "flat_map" else value

    try:
        step = BOTH[name](work)
    except GraphError as error:
        if "async" not in str(error):
            raise
        return
    trial = run(step)
    assert len(trial.values) + len(trial.dead_letters.get("p.dead", [])) == 3


@pytest.mark.parametrize("kept", [False, True])
def test_a_handler_that_hangs_is_ended_by_a_timeout(kept: bool) -> None:
    async def hang(value: int) -> int:
        await asyncio.sleep(1e9 if value == 2 else 0)
        return value

    trial = run(map(hang, timeout="1m"), memory.state() if kept else None)
    assert [(letter.value, letter.error) for letter in trial.dead_letters["p.dead"]] == [(2, "TimeoutError")]
    assert trial.values == [1, 3]


def test_a_handler_that_hangs_at_shutdown_gives_its_message_back() -> None:
    async def hang(value: int) -> int:
        await asyncio.sleep(1e9 if value == 2 else 0)
        return value

    broker, out = memory.Broker(), []
    queue = memory.queue("in", int, broker=broker)
    Pipeline("feed", memory.items([1, 2, 3]) | queue).run()
    step = map(hang, concurrency=3, ordered=False) | scan(lambda total, value: total + value, 0)
    flow = queue | step | memory.into(out)
    pipeline = Pipeline("p", flow, shutdown="50ms", state=memory.state(), checkpoint="10ms")
    with pytest.raises(ShutdownError, match=r"still in flight after 0\.05 s and went back to their source"):
        asyncio.run(_stopped(pipeline))
    assert broker.peek("in").bodies == [b"2"]


async def _stopped(pipeline: Pipeline) -> None:
    running = pipeline.start()
    asyncio.get_running_loop().call_later(0.2, running.stop)
    await running


def test_a_handler_that_changes_its_argument_is_seen_by_a_retry_and_not_by_the_dead_letter() -> None:
    seen: list[list[int]] = []

    def spoil(value: list[int]) -> list[int]:
        seen.append([*value])
        value.append(0)
        raise ConnectionError("no")

    flow = memory.queue("in", list[int]) | map(spoil) | retry(constant("1s", attempts=3)) | memory.into([])
    (letter,) = Pipeline("p", flow).test([b"[1]"]).dead_letters["p.dead"]
    assert (seen, letter.value) == ([[1], [1, 0], [1, 0, 0]], b"[1]")


def test_a_branch_that_changes_its_argument_is_seen_by_the_branch_behind_it() -> None:
    def spoil(value: list[int]) -> list[int]:
        value.append(0)
        return value

    trial = run(map(lambda value: [value]) | broadcast(a=map(spoil), b=map(list)))
    assert sorted(trial.values) == sorted([[n, 0] for n in (1, 2, 3)] * 2)


@pytest.mark.parametrize("name", KEYS)
def test_a_clock_that_goes_backwards_loses_nothing(name: str) -> None:
    times = iter([1e9, 1e9 - 500, 1e9 + 7, 3.0])
    out: list[Any] = []

    async def main() -> None:
        flow = memory.items([1, 2, 3, 4]) | KEYS[name](lambda value: value) | memory.into(out)
        last = 1e9

        def clock() -> float:
            nonlocal last
            last = next(times, last)
            return last

        await asyncio.wait_for(Pipeline("p", flow, state=memory.state()).start(clock=clock), 20)

    asyncio.run(main())
    assert len(out) == 4


# Joins

SILENT = memory.queue("right") | filter(lambda value: False)
JOINS: dict[str, Callable[[Handler], Source[Any]]] = {
    "on": lambda f: join(memory.queue("left"), SILENT, on=(f, str), time=lambda value: 0.0, within=1, how="left"),
    "time": lambda f: join(memory.queue("left"), SILENT, on=str, time=(f, float), within=1, how="left", lateness="1h"),
    "on, by the clock": lambda f: join(memory.queue("left"), SILENT, on=(f, str), within=1, how="left"),
    "on, with a table": lambda f: join_table(memory.queue("left"), SILENT, on=(f, str), how="left"),
}


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("name", JOINS)
@pytest.mark.parametrize("answer", ["raise", "coroutine", [2]])
def test_a_function_of_a_join_that_fails_fails_its_message_alone(name: str, kept: bool, answer: Any) -> None:
    def work(value: Any) -> Any:
        if value != 2:
            return value
        return _coroutine() if answer == "coroutine" else always(value) if answer == "raise" else answer

    pipeline = Pipeline("p", JOINS[name](work) | memory.into([]), state=memory.state() if kept else None)
    trial = pipeline.test([1, 2, 3], at=[0, 1, 2])
    gc.collect()
    assert [letter.value for letter in trial.dead_letters["p.dead"]] == [2]
    assert sorted(pair.left for pair in trial.values) == [1, 3]


@pytest.mark.parametrize("name", JOINS)
def test_an_async_function_of_a_join_is_refused(name: str) -> None:
    async def work(value: Any) -> Any:
        return value

    with pytest.raises(GraphError, match="must not be async"):
        JOINS[name](work)


# The state file


def total_of(path: Path, state: Any = None) -> tuple[Pipeline, list[int]]:
    out: list[int] = []
    source = sqlite.queue(path.parent / "queues.db", "in", int)
    step = scan(lambda total, value: total + value, 0)
    return Pipeline("sums", source | step | memory.into(out), state=path if state is None else state), out


def _other_pipeline(path: Path) -> None:
    StateFile(path).open("others")


def _other_format(path: Path) -> None:
    file = StateFile(path)
    file.open("sums")
    file.close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 9")
    db.close()


def _other_database(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE mine (x)")
    db.close()


def _truncated(path: Path) -> None:
    pipeline, _ = total_of(path)
    Pipeline("feed", memory.items([0] * 10) | sqlite.queue(path.parent / "queues.db", "in", int)).run()
    pipeline.run(until_empty=True)
    os.truncate(path, path.stat().st_size // 2 + 100)


FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "of another pipeline": (_other_pipeline, "of pipeline 'others', not of 'sums'; give each pipeline its own file"),
    "of another version": (_other_format, "has format 9 .*; run the version that wrote it, or name another file"),
    "of something else": (_other_database, "is a database of something else; name another file for the state"),
    "no database": (lambda path: path.write_bytes(b"0123456789" * 1000) and None, "is damaged or is not a state file"),
    "truncated": (_truncated, "is damaged or is not a state file"),
    "a folder": (lambda path: path.mkdir(), "orders.state"),
}


@pytest.mark.parametrize("what", FILES)
def test_a_state_file_that_cannot_be_used_is_a_sentence_and_every_message_stays(what: str, tmp_path: Path) -> None:
    spoil, sentence = FILES[what]
    path = tmp_path / "orders.state"
    spoil(path)
    gc.collect()
    source = sqlite.queue(tmp_path / "queues.db", "in", int)
    Pipeline("feed", memory.items(range(10)) | source).run()
    pipeline, out = total_of(path)
    with pytest.raises((StateError, StorageError), match=sentence):
        pipeline.run(until_empty=True)
    assert (sqlite.depth(tmp_path / "queues.db", "in"), out) == (10, [])
    pipeline, out = total_of(path, tmp_path / "new.state")
    pipeline.run(until_empty=True)
    assert out[-1] == sum(range(10))


FULL = """
import resource, sys
from pathlib import Path
from warren import Pipeline
from warren.connectors import memory, sqlite
from warren.core.errors import StorageError
from warren.operators import scan

folder = Path(sys.argv[1])
step = scan(lambda state, n: (state[0] + n, bytes(5000)), (0, b""), by=lambda n: n % 100)
flow = memory.queue("in", int) | step | memory.into([])
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
Pipeline("feed", memory.items(range(300)) | memory.queue("in")).run()
try:
    Pipeline("full", flow, state=folder / "full.state", credit=50, checkpoint="10ms").run(until_empty=True)
except StorageError as error:
    print(memory.queue("in").broker.depth("in"), error)
"""


def test_a_file_that_may_not_grow_stops_the_run_at_a_checkpoint_and_loses_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    left, sentence = done.stdout.strip().split(" ", 1)
    assert "full.state" in sentence and "run again" in sentence
    file = StateFile(tmp_path / "full.state")
    kept = file.open("full").get("1:scan")
    file.close()
    counted = sum(map(len, kept[1].counted)) if kept else 0
    assert int(left) >= 300 - len(kept[1].rows if kept else ()) - counted
