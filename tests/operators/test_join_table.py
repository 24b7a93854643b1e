"""A stream beside a table: read first where it ends, kept where it is a queue of changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren import Pipeline, constant
from warren.connectors import memory, sqlite
from warren.core.errors import GraphError
from warren.core.graph import Source
from warren.operators import Pair, batch, flat_map, join_table, map, retry
from warren.pipelines.given import Arrival, Script
from warren.pipelines.trial import Trial, try_out
from warren.testing import Faults, fail, slow, virtual

stream: Source[Any] = memory.queue("stream")
changes: Source[Any] = memory.queue("changes")


def key(row: Any) -> Any:
    return row[0]


def tried(source: Source[Any], arrivals: dict[str, Sequence[Arrival]]) -> Trial:
    def script(name: str) -> Script:
        return Script(arrivals[name])

    return try_out(Pipeline("p", source | memory.into([])), script, 0.0, [Faults()])


def at_once(values: Iterable[Any], at: float = 0.0) -> list[Arrival]:
    return [Arrival(value, at) for value in values]


rows = st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.integers()), max_size=20)


@pytest.mark.parametrize("how", ["inner", "left"])
@given(lefts=rows, rights=rows)
def test_each_value_goes_on_with_the_newest_row(how: Any, lefts: Sequence[Any], rights: Sequence[Any]) -> None:
    source = join_table(stream, changes, on=key, how=how)
    trial = tried(source, {stream.name: at_once(lefts, 5.0), changes.name: at_once(rights)})
    newest = {k: (k, v) for k, v in rights if k is not None}
    assert trial.values == [Pair(each[0], each, newest.get(each[0])) for each in lefts if how == "left" or each[0] in newest]
    assert sum(trial.outcomes.values()) == len(lefts) + len(rights)


def test_the_row_counts_that_is_there_when_a_value_comes() -> None:
    source = join_table(stream, changes, on=key, how="left", gone=lambda row: row[1] == 0)
    with virtual(Pipeline("p", source | memory.into([]))) as run:
        run.send(("a", "x"), to=stream.name)
        run.send(("a", 1), ("a", 0), ("a", 2), ("b", 3), to=changes.name).send(("a", "y"), to=stream.name)
        run.send(("a", 0), ("c", 0), to=changes.name).send(("a", "z"), ("b", "z"), to=stream.name)
        assert [pair.right for pair in run.values] == [None, ("a", 2), None, ("b", 3)]
        assert run.in_flight == 0


def test_a_table_that_ends_is_read_first() -> None:
    table: Source[Any] = memory.items([("a", 1)])
    steps = map(slow("1m")(lambda row: row), concurrency=4) | flat_map(lambda row: [row, (row[1], row[0])])
    arrivals = {stream.name: at_once([("a", "x"), (1, "y")]), table.name: [Arrival(("a", 1)), Arrival(("a", 2), 100.0)]}
    trial = tried(join_table(stream, table | steps, on=key), arrivals)
    assert [pair.right for pair in trial.values] == [("a", 2), (1, "a")]
    # What a step holds until more comes is not waited for.
    held = join_table(stream, table | batch(5) | flat_map(list), on=key, how="left")
    assert [pair.right for pair in tried(held, arrivals).values] == [None, None]


def test_rows_that_come_after_those_that_fail() -> None:
    table: Source[Any] = memory.items([])
    flaky = map(fail(nth=1)(lambda row: row)) | retry(constant("5s"))
    arrivals = {stream.name: at_once([("a", "x")]), table.name: at_once([("a", 1), ([], 2), "ab"])}
    trial = tried(join_table(stream, table | flaky, on=key), arrivals)
    assert [pair.right for pair in trial.values] == [("a", 1)]
    assert [letter.value for letter in trial.dead_letters["p.dead"]] == [([], 2)]


def test_values_and_rows_whose_function_raises_fail_alone() -> None:
    def gone(row: Any) -> bool:
        return bool(row[1] / row[2])

    source = join_table(stream, changes, on=key, gone=gone)
    arrivals = {
        stream.name: at_once([("a", 1), 5, ("b", 2)], 1.0),
        changes.name: at_once([("a", 0, 1), ("b", 0, 0), ("b", 0, 1), ("a", 1, 0)]),
    }
    trial = tried(source, arrivals)
    assert [pair.key for pair in trial.values] == ["a", "b"]
    assert [letter.error for letter in trial.dead_letters["p.dead"]] == ["ZeroDivisionError"] * 2 + ["TypeError"]
    again = tried(
        join_table(stream, changes, on=(fail(nth=1)(key), fail(nth=1)(key)), how="left") | retry(constant("1s")),
        {stream.name: at_once([("a", 1)], 5.0), changes.name: at_once([("a", 2)])},
    )
    assert again.values == [Pair("a", ("a", 1), ("a", 2))]


class Files:
    """Queues in a file, and a state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def queue(self, name: str) -> Any:
        return sqlite.queue(self.folder / "q.db", name, Any)

    def feed(self, name: str, *values: Any) -> None:
        Pipeline("feed", memory.items(values) | self.queue(name)).run()

    def run(self, **options: Any) -> list[Any]:
        out: list[Any] = []
        source = join_table(self.queue("stream"), self.queue("changes"), on=key, how="left", gone=lambda row: row[1] is None)
        Pipeline("p", source | memory.into(out), state=self.folder / "p.state", **options).run(until_empty=True)
        return [(pair.left[1], pair.right and pair.right[1]) for pair in out]


def test_a_table_of_changes_is_kept(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.feed("changes", ("a", 1), ("b", 2), ("c", 3))
    assert files.run() == []
    files.feed("stream", ("a", "x"), ("c", "y"))
    assert files.run() == [("x", 1), ("y", 3)]
    files.feed("changes", ("a", None), ("b", 4))
    files.run()
    files.feed("stream", ("a", "x"), ("b", "y"), ("c", "z"))
    assert files.run() == [("x", None), ("y", 4), ("z", 3)]


def test_a_table_that_ends_is_not_kept(tmp_path: Path) -> None:
    for rows, found in (([("a", 1)], [1]), ([("b", 1)], [])):
        out: list[Any] = []
        source = join_table(memory.items([("a", "x")]), memory.items(rows), on=key)
        Pipeline("p", source | memory.into(out), state=tmp_path / "p.state").run()
        assert [pair.right[1] for pair in out] == found


def test_a_large_table_needs_no_credit() -> None:
    out: list[Any] = []
    source = join_table(memory.items((n, n) for n in range(500)), memory.items((n, -n) for n in range(500)), on=key)
    Pipeline("p", source | memory.into(out), credit=10).run()
    assert [pair.right[1] for pair in out] == [-n for n in range(500)]


def test_a_stop_while_the_table_is_read() -> None:
    async def main() -> None:
        table: Source[Any] = memory.items([("a", 1)])
        reading = asyncio.Event()

        async def wait(row: Any) -> Any:
            reading.set()
            await asyncio.sleep(0)
            return row

        running = Pipeline("p", join_table(memory.items([("a", 2)]), table | map(wait), on=key) | memory.into([])).start()
        await asyncio.wait_for(reading.wait(), 10)
        running.stop()
        await running

    asyncio.run(main())


def test_what_cannot_be() -> None:
    with pytest.raises(GraphError, match=r"join_table\(how='outer'\): write how='inner' or how='left'"):
        join_table(stream, changes, on=key, how="outer")  # type: ignore[call-overload]
    with pytest.raises(GraphError, match=r"join_table\(on=...\): 5 is not a function; give a function of one value, or a"):
        join_table(stream, changes, on=5)  # type: ignore[call-overload]
    with pytest.raises(GraphError, match=r"join_table\(gone=...\): 5 is not a function; give a function of a row"):
        join_table(stream, changes, on=key, gone=5)  # type: ignore[call-overload]
    with pytest.raises(GraphError, match=r"join_table: 5 on the table is not a source"):
        join_table(stream, 5, on=key)  # type: ignore[call-overload]
    with pytest.raises(GraphError, match=r"join_table: both sides read memory:stream"):
        join_table(stream, stream, on=key)


def test_what_explain_says() -> None:
    text = Pipeline("p", join_table(stream, memory.items([]), on=key) | memory.into([])).explain()
    assert "sides(memory:stream, memory.items)\n    stream:\n      memory:stream\n    table:\n      memory.items" in text
    assert "join_table(inner)   [the table is read first]" in text
