from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from warren.connectors import memory
from warren.core.errors import GraphError
from warren.core.message import Batch
from warren.pipelines.given import Arrival, Given, Script, arrivals_of
from warren.pipelines.virtual import VirtualLoop


def virtually(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


def given(*arrivals: Arrival, end: float = 0.0, typed: bool = False) -> Given:
    return Given(memory.queue("q", dict if typed else None), Script(arrivals, end))


async def receive(source: Given, limit: int = 10) -> tuple[float, Batch | None]:
    batch = await source.receive(limit)
    return round(asyncio.get_running_loop().time(), 4), batch


async def bodies(source: Given, limit: int = 10) -> tuple[float, list[Any] | None]:
    at, batch = await receive(source, limit)
    return at, None if batch is None else list(batch.bodies)


def test_messages_come_at_their_times_whatever_their_order() -> None:
    async def main() -> None:
        source = given(Arrival("c", 5), Arrival("a", 1), Arrival("b", 1))
        assert await bodies(source) == (1, ["a", "b"])
        assert await bodies(source) == (5, ["c"])
        assert await bodies(source) == (5, None)

    virtually(main)


def test_it_ends_when_its_script_says_so() -> None:
    async def main() -> None:
        source = given(Arrival("a", 1), end=60)
        assert await bodies(source) == (1, ["a"])
        assert await bodies(source) == (60, None)

    virtually(main)


def test_what_is_given_back_comes_before_later_messages_and_wakes_who_waits() -> None:
    async def main() -> None:
        source = given(Arrival("a"), Arrival("b", 100))
        _, batch = await receive(source)
        assert batch is not None
        waiting = asyncio.ensure_future(receive(source))
        await asyncio.sleep(1)
        await source.release(batch.handles, delay=2, attempts=4)
        at, again = await waiting
        assert again is not None
        assert (at, again.bodies, again.attempts, again.deliveries) == (3, ["a"], [4], [4])

    virtually(main)


def test_a_message_that_is_given_back_untried_keeps_its_attempts_and_counts_as_lost() -> None:
    async def main() -> None:
        source = given(Arrival("a"))
        _, batch = await receive(source)
        assert batch is not None
        await source.release(batch.handles, attempts=3)
        _, batch = await receive(source)
        assert batch is not None
        await source.release(batch.handles)
        _, batch = await receive(source)
        assert batch is not None
        assert (batch.attempts, batch.deliveries) == ([3], [4])
        await source.acknowledge(batch.handles)
        await source.release(batch.handles)
        assert await bodies(source) == (0, None)

    virtually(main)


def test_metadata_is_what_is_given() -> None:
    async def main() -> None:
        source = given(Arrival("a"), Arrival("b", id="x", key="k", headers={"h": "1"}, content_type="text/plain"))
        _, batch = await receive(source)
        assert batch is not None
        first, second = batch.metadata(0), batch.metadata(1)
        assert (first.id, first.key, dict(first.headers), first.content_type) == ("0", None, {}, "")
        assert (second.id, second.key, dict(second.headers), second.content_type) == ("x", "k", {"h": "1"}, "text/plain")

    virtually(main)


def test_a_typed_source_gets_bytes_an_untyped_one_values() -> None:
    async def main() -> None:
        assert await bodies(given(Arrival({"a": 1}), Arrival(b"{"), typed=True)) == (0, [b'{"a":1}', b"{"])
        assert await bodies(given(Arrival({"a": 1}))) == (0, [{"a": 1}])

    virtually(main)


def test_an_open_one_waits_for_what_is_sent_and_for_its_end() -> None:
    async def main() -> None:
        source = given(end=math.inf)
        waiting = asyncio.ensure_future(bodies(source))
        await asyncio.sleep(5)
        source.send(Arrival("a", 7))
        assert await waiting == (7, ["a"])
        waiting = asyncio.ensure_future(bodies(source))
        await asyncio.sleep(1)
        source.finish()
        assert await waiting == (8, None)

    virtually(main)


def test_times_and_values_must_match() -> None:
    assert arrivals_of("ab", ["1s", 2], "test") == [Arrival("a", 1.0), Arrival("b", 2.0)]
    assert arrivals_of("a", None, "test") == [Arrival("a")]
    with pytest.raises(GraphError, match=r"test\(at=...\): 2 value\(s\) come at 1 time\(s\)"):
        arrivals_of("ab", [1], "test(at=...)")
    with pytest.raises(GraphError, match="'soon' is not a duration"):
        arrivals_of("a", ["soon"], "test")
