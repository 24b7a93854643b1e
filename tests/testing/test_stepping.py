from __future__ import annotations

import asyncio
from typing import Any

import pytest

from warren import Pipeline, constant
from warren.connectors import memory
from warren.core.errors import ConnectorError, EncodeError, GraphError
from warren.core.graph import SourceConnection
from warren.operators import batch, debounce, map, merge, retry
from warren.testing import Ends, Faults, fail, slow, virtual


def over(*steps: Any, name: str = "p") -> Pipeline:
    flow: Any = memory.items([])
    for step in steps:
        flow = flow | step
    return Pipeline(name, flow | memory.into([]))


def test_one_can_look_in_between() -> None:
    with virtual(over(batch(3, "1m"))) as run:
        run.send("a", "b")
        assert (run.values, run.in_flight, run.now) == ([], 2, 0)
        run.advance("59s")
        assert (run.values, run.in_flight, run.now) == ([], 2, 59)
        run.advance("1s")
        assert (run.values, run.in_flight, run.now) == ([["a", "b"]], 0, 60)
        assert run.outcomes == {"delivered": 2}
        run.send("c")
    assert run.values == [["a", "b"], ["c"]]


def test_what_is_sent_is_done_with_before_one_looks() -> None:
    with virtual(over(map(str.upper))) as run:
        assert run.send("a").values == ["A"]
        assert run.send("b", "c").values == ["A", "B", "C"]


def test_leaving_it_flushes_what_is_held() -> None:
    with virtual(over(debounce("1h"))) as run:
        run.send("a")
    assert run.values == ["a"]
    assert run.finish().outcomes == {"delivered": 1}


def test_retries_and_dead_letters_are_seen_as_they_come() -> None:
    steps = map(fail(every=1)(str)) | retry(constant("10s", attempts=3))
    with virtual(over(steps)) as run:
        run.send("a").advance("19s")
        assert run.dead_letters == []
        run.advance("1s")
        (letter,) = run.dead_letters
        assert (letter.value, letter.error) == ("a", "ConnectionError")


def test_a_handler_that_waits_is_under_way() -> None:
    with virtual(over(map(slow("1h")(str)))) as run:
        run.send(1).advance("59m")
        assert (run.values, run.in_flight) == ([], 1)
        run.advance("1m")
        assert (run.values, run.in_flight) == (["1"], 0)


def test_time_is_exact_however_it_is_cut() -> None:
    with virtual(over(debounce("1s"))) as run:
        run.send("a")
        for _ in range(10):
            run.advance(0.1)
        assert run.now == pytest.approx(1)
        assert run.advance("1ms").values == ["a"]


def test_metadata_can_be_sent() -> None:
    with virtual(Pipeline("p", memory.queue("in", str) | map(fail(every=1)(str)) | memory.into([]))) as run:
        run.send("a", id="7", key="k", headers={"h": "1"})
        metadata = run.dead_letters[0].metadata
        assert (metadata.id, metadata.key, metadata.headers["h"]) == ("7", "k", "1")


def test_sources_are_told_apart_by_their_names() -> None:
    both = Pipeline("p", merge(memory.queue("x", str), memory.queue("y", str)) | memory.into([]))
    with virtual(both) as run:
        assert run.send("a", to="memory:x").values == ["a"]
        assert run.send("b").values == ["a", "b", "b"]
        with pytest.raises(GraphError, match="pipeline 'p' has no source 'z' to send to; it has 'memory:x', 'memory:y'"):
            run.send("c", to="z")


def test_the_clock_starts_where_one_says() -> None:
    seen: list[float] = []

    class Clock:
        def open(self, pipeline: str) -> None: ...
        def close(self) -> None: ...
        def handled(self, *details: Any) -> None: ...

        def settled(self, delivery: Any, tokens: Any, outcome: Any, at: float) -> None:
            seen.append(at)

    with virtual(over().observed(Clock()), start=1000.0) as run:
        run.advance("5s").send("a")
    assert seen == [1005.0]


def test_faults_befall_it() -> None:
    with virtual(over(), faults=Faults().drop_connection(nth=2).refuse(nth=3)) as run:
        assert run.send("a", "b", "c").values == ["a", "b", "a", "b", "c"]
        assert [letter.value for letter in run.dead_letters] == ["c"]


def test_an_error_that_stops_the_pipeline_is_raised_where_it_happens() -> None:
    run = virtual(over(), faults=Faults().fail_write(nth=2)).start().send("a")
    with pytest.raises(ConnectorError):
        run.send("b")
    with pytest.raises(GraphError, match="pipeline 'p' has ended"):
        run.send("c")
    with pytest.raises(ConnectorError):
        run.finish()
    run.close()


def test_an_error_of_the_test_itself_is_the_one_that_is_seen() -> None:
    def test() -> None:
        with virtual(over(batch(9, "1h"))) as run:
            run.send("a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        test()


def test_what_cannot_be_sent_is_told() -> None:
    with virtual(Pipeline("p", memory.queue("in", int) | memory.into([]))) as run:
        with pytest.raises(EncodeError, match="pipeline 'p': a test value cannot be sent"):
            run.send(object())
        assert run.send(1).values == [1]


def test_it_is_started_once_and_ends_once() -> None:
    run = virtual(over())
    with pytest.raises(GraphError, match="pipeline 'p' is not started; use it as: with virtual"):
        run.send("a")
    run.start()
    with pytest.raises(GraphError, match="was started before"):
        run.start()
    run.send("a").finish()
    with pytest.raises(GraphError, match="pipeline 'p' has ended after 0 s; nothing more can come"):
        run.advance("1s")
    assert run.finish().values == ["a"]
    run.close()
    run.close()
    assert run.values == ["a"]


class Away(Ends):
    def source(self, name: str, connection: SourceConnection) -> SourceConnection:
        raise ConnectorError("nobody is there")


def test_one_that_cannot_be_started_leaves_nothing_behind() -> None:
    run = virtual(over(), faults=Away())
    with pytest.raises(ConnectorError, match="nobody is there"):
        run.start()
    assert run._loop is not None and run._loop.is_closed()


def test_it_can_be_left_at_once() -> None:
    run = virtual(over(batch(9, "1h"))).start().send("a")
    run.close()
    assert run.values == []


def test_it_works_inside_a_running_loop() -> None:
    async def main() -> list[Any]:
        with virtual(over(map(str.upper))) as run:
            return run.send("a").advance("1h").values

    assert asyncio.run(main()) == ["A"]
