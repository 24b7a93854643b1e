"""What every queue has to keep, as a suite that any connector can run.

A connector's tests subclass `Conformance` and say how to make a queue; pytest finds the checks::

    class TestCarrierPigeon(Conformance):
        @pytest.fixture(autouse=True)
        def _folder(self, tmp_path):
            self.folder = tmp_path

        def queue(self, name):
            return pigeon.queue(self.folder, name)

        async def crash(self, connection):  # optional: lose a connection as a killed process would
            await connection.drop()

``queue`` must give the same queue for the same name within a check, and an empty one in the next. A queue is an `Inlet`
and an `Outlet` in one; a connector with two separate leaves also overrides `sink`. Each check runs in an event loop of its
own; ``loop_factory`` can name a virtual-time one. Nothing here needs pytest: every ``test_…`` method can be called.

`AdminConformance` is the suite of what looks after queues from outside.
"""

from __future__ import annotations

import asyncio
import time
import unittest
from collections.abc import Callable
from typing import Any

from warren.connectors.conformance.admin import AdminConformance
from warren.connectors.conformance.kit import Got, Kit, bodies_of, check, handles_of, unpack
from warren.core.errors import PartialWriteError
from warren.core.message import Metadata, Outgoing

__all__ = ["AdminConformance", "Conformance"]


class Conformance:
    """The suite; see the module for how to use it."""

    deadline: float = 20.0
    """Seconds after which something that does not come is given up."""
    delay: float = 0.1
    """Seconds that a delayed message is delayed."""
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None

    def queue(self, name: str) -> Any:
        """The queue of that name: a source, and a sink unless `sink` says otherwise."""
        raise NotImplementedError("say how to make a queue: def queue(self, name)")

    def sink(self, name: str) -> Any:
        """What writes to the queue of that name."""
        return self.queue(name)

    async def crash(self, connection: Any) -> None:
        """Lose a connection as a killed process would: nothing is given back by it."""
        raise unittest.SkipTest("this connector does not say how to crash")

    @check
    async def test_messages_come_in_order_and_acknowledged_ones_never_again(self, kit: Kit) -> None:
        await kit.write(b"a", b"b")
        await kit.write(b"c")
        source = await kit.source()
        got = await kit.take(source, 3)
        assert bodies_of(got) == [b"a", b"b", b"c"]
        assert [each.deliveries for each in got] == [1, 1, 1]
        assert [each.metadata.attempt for each in got] == [1, 1, 1]
        await source.acknowledge(handles_of(got))
        await source.close()
        assert await kit.drain() == []

    @check
    async def test_the_limit_is_respected(self, kit: Kit) -> None:
        await kit.write(*(b"%d" % i for i in range(50)))
        source = await kit.source()
        assert bodies_of(await kit.take(source, 50, limit=7)) == [b"%d" % i for i in range(50)]

    @check
    async def test_a_waiting_receiver_is_woken(self, kit: Kit) -> None:
        source = await kit.source()
        waiting = asyncio.ensure_future(source.receive(10))
        await asyncio.sleep(0)
        await kit.write(b"a")
        batch = await kit.soon(waiting)
        assert bodies_of(unpack(batch)) == [b"a"]

    @check
    async def test_unsettled_messages_come_back_after_close_before_newer_ones(self, kit: Kit) -> None:
        await kit.write(b"a", b"b", b"c", b"d")
        source = await kit.source()
        got = await kit.take(source, 3)
        await source.acknowledge([got[1].handle])
        await kit.write(b"e")
        await source.close()
        again = await kit.drain()
        assert bodies_of(again) == [b"a", b"c", b"d", b"e"]
        assert [each.deliveries for each in again] == [2, 2, 1, 1]

    @check
    async def test_unsettled_messages_come_back_after_a_crash(self, kit: Kit) -> None:
        await kit.write(b"a", b"b", b"c")
        source = await kit.source()
        got = await kit.take(source, 2)
        await source.acknowledge([got[0].handle])
        await self.crash(source)
        again = await kit.drain()
        assert bodies_of(again) == [b"b", b"c"]
        assert [each.deliveries for each in again] == [2, 1]

    @check
    async def test_part_of_a_batch_can_be_settled(self, kit: Kit) -> None:
        bodies = [b"%d" % i for i in range(20)]
        await kit.write(*bodies)
        source = await kit.source()
        got = await kit.take(source, 20)
        await source.acknowledge(handles_of([got[0], got[5], got[6], got[19]]))
        await source.acknowledge(handles_of(got[10:15]))
        await source.release(handles_of(got[7:9]))
        again = await kit.take(source, 2)
        assert bodies_of(again) == bodies[7:9]
        await source.acknowledge(handles_of(again))
        await source.close()
        assert bodies_of(await kit.drain()) == [*bodies[1:5], bodies[9], *bodies[15:19]]

    @check
    async def test_released_messages_come_back_with_their_attempts_before_newer_ones(self, kit: Kit) -> None:
        await kit.write(b"a", b"b", b"c")
        source = await kit.source()
        got = await kit.take(source, 2)
        await source.release([got[1].handle], attempts=5)
        await source.release([got[0].handle])
        again = await kit.take(source, 3)
        assert bodies_of(again) == [b"a", b"b", b"c"]
        assert [each.metadata.attempt for each in again] == [1, 5, 1]
        assert [each.deliveries for each in again] == [2, 2, 1]
        await source.close()
        assert [each.metadata.attempt for each in await kit.drain()] == [1, 5, 1], "attempts must be durable"

    @check
    async def test_a_delayed_message_waits_and_blocks_nobody(self, kit: Kit) -> None:
        await kit.write(b"a", b"b")
        source = await kit.source()
        got = await kit.take(source, 1)
        start = asyncio.get_running_loop().time()
        await source.release(handles_of(got), delay=self.delay, attempts=2)
        assert bodies_of(await kit.take(source, 1)) == [b"b"]
        (late,) = await kit.take(source, 1)
        waited = asyncio.get_running_loop().time() - start
        assert (late.body, late.metadata.attempt, late.deliveries) == (b"a", 2, 2)
        assert waited >= self.delay * 0.9, f"it came after {waited:.3f} s"

    @check
    async def test_settling_is_idempotent_and_unknown_handles_are_no_error(self, kit: Kit) -> None:
        await kit.write(b"a", b"b", b"c")
        source = await kit.source()
        a, b, c = await kit.take(source, 3)
        await source.acknowledge([a.handle])
        await source.acknowledge([a.handle])
        await source.release([a.handle])
        await source.release([b.handle])
        await source.acknowledge([b.handle])
        await source.acknowledge([])
        await source.release([])
        await source.acknowledge([c.handle, "no such handle"])
        await source.release(["no such handle"])
        await source.close()
        assert bodies_of(await kit.drain()) == [b"b"]

    @check
    async def test_dead_letters_are_a_queue(self, kit: Kit) -> None:
        sink = await self.queue("q").dead_letters("q.dead").open()
        kit.opened.append(sink)
        letter = Metadata(id="7", headers={"warren-reason": "too late"}, key="k", content_type="text/plain")
        await sink.write(Outgoing([b"broken"], lambda _: letter))
        assert await kit.drain() == []
        (got,) = await kit.drain("q.dead")
        assert got.body == b"broken"
        assert (got.metadata.id, got.metadata.headers, got.metadata.key) == ("7", {"warren-reason": "too late"}, "k")

    @check
    async def test_until_empty_ends_when_nothing_waits(self, kit: Kit) -> None:
        source = await kit.source(until_empty=True)
        assert await kit.soon(source.receive(5)) is None
        await kit.write(b"a", b"b")
        got = await kit.take(source, 2)
        assert await kit.soon(source.receive(5)) is None, "what this connection holds must not keep it waiting"
        await source.release([got[0].handle], delay=self.delay)
        assert bodies_of(await kit.take(source, 1)) == [b"a"], "what is delayed must be waited for"
        assert await kit.soon(source.receive(5)) is None

    @check
    async def test_until_empty_waits_for_what_others_hold(self, kit: Kit) -> None:
        await kit.write(b"a")
        other = await kit.source()
        got = await kit.take(other, 1)
        source = await kit.source(until_empty=True)
        waiting = asyncio.ensure_future(source.receive(5))
        done, _ = await asyncio.wait([waiting], timeout=self.delay)
        assert not done
        await other.release(handles_of(got))
        batch = await kit.soon(waiting)
        assert bodies_of(unpack(batch)) == [b"a"]

    @check
    async def test_receivers_share_without_overlap(self, kit: Kit) -> None:
        bodies = [b"%d" % i for i in range(200)]
        await kit.write(*bodies)
        got: list[Got] = []

        async def work() -> None:
            source = await kit.source(until_empty=True)
            while (batch := await kit.soon(source.receive(9))) is not None:
                got.extend(unpack(batch))
                await source.acknowledge(batch.handles)

        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(work())
        assert sorted(bodies_of(got)) == sorted(bodies)

    @check
    async def test_any_bytes_come_back_as_they_were(self, kit: Kit) -> None:
        bodies = [b"", bytes(range(256)), b"\0", bytes(1 << 20), b"x" * 3_000_000, b"end"]
        await kit.write(*bodies)
        assert bodies_of(await kit.drain()) == bodies

    @check
    async def test_metadata_comes_back(self, kit: Kit) -> None:
        metadata = [
            Metadata(id="1", headers={"größe": "Ω", "traceparent": "00-ab-cd-01"}, key="schlüssel"),
            Metadata(id="2", content_type="text/plain"),
            Metadata(id="3", headers={"a": ""}, attempt=9),
        ]
        before = time.time()
        await kit.write(b"a", b"b", b"c", metadata=metadata)
        got = [each.metadata for each in await kit.drain()]
        assert [each.id for each in got] == ["1", "2", "3"]
        assert [dict(each.headers) for each in got] == [dict(each.headers) for each in metadata]
        assert [each.key for each in got] == ["schlüssel", None, None]
        assert got[1].content_type == "text/plain"
        assert [each.attempt for each in got] == [1, 1, 1], "attempts are counted anew in each queue"
        assert all(before - 1 <= each.timestamp <= time.time() + 1 for each in got)

    @check
    async def test_values_are_encoded_with_their_content_type(self, kit: Kit) -> None:
        await kit.write({"a": 1}, "ü", None)
        got = await kit.drain()
        assert bodies_of(got) == [b'{"a":1}', '"ü"'.encode(), b"null"]
        assert {each.metadata.content_type for each in got} == {"application/json"}

    @check
    async def test_messages_without_an_id_get_distinct_stable_ones(self, kit: Kit) -> None:
        await kit.write(*[b"x"] * 10)
        await kit.write(*[b"x"] * 10, name="other")
        source = await kit.source()
        ids = [each.metadata.id for each in await kit.take(source, 10, limit=3)]
        await source.close()
        assert [each.metadata.id for each in await kit.drain()] == ids
        everything = ids + [each.metadata.id for each in await kit.drain("other")]
        assert all(everything)
        assert len(set(everything)) == 20

    @check
    async def test_cancelling_a_receive_loses_nothing(self, kit: Kit) -> None:
        source = await kit.source()
        bodies = [b"%d" % i for i in range(30)]
        got: list[Got] = []
        for i, body in enumerate(bodies):
            waiting = asyncio.ensure_future(source.receive(5))
            for _ in range(i % 4):
                await asyncio.sleep(0)
            writing = asyncio.ensure_future(kit.write(body))
            for _ in range(i % 7):
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            if not waiting.cancelled():
                got += unpack(waiting.result())
            await writing
        got += await kit.take(source, len(bodies) - len(got), limit=2) if len(got) < len(bodies) else []
        assert bodies_of(got) == bodies
        await source.acknowledge(handles_of(got))
        await source.close()
        assert await kit.drain() == []

    @check
    async def test_closing_ends_a_receive_and_closing_twice_does_nothing(self, kit: Kit) -> None:
        source = await kit.source()
        waiting = asyncio.ensure_future(source.receive(1))
        await asyncio.sleep(0)
        await source.close()
        assert await kit.soon(waiting) is None
        await source.close()
        sink = await self.sink("q").open()
        await sink.close()
        await sink.close()

    @check
    async def test_a_value_that_cannot_be_written_does_not_hold_up_the_others(self, kit: Kit) -> None:
        refused: list[int] = []
        try:
            await kit.write({"a": 1}, object(), b"raw", metadata=[Metadata(id=str(i)) for i in range(3)])
        except PartialWriteError as error:
            refused = list(error.errors)
        assert refused == [1], "object() must be refused, by PartialWriteError and alone"
        got = await kit.drain()
        assert [(each.body, each.metadata.id) for each in got] == [(b'{"a":1}', "0"), (b"raw", "2")]

    @check
    async def test_concurrent_writes_all_arrive(self, kit: Kit) -> None:
        sink = await self.sink("q").open()
        kit.opened.append(sink)
        async with asyncio.TaskGroup() as group:
            for i in range(40):
                meta = Metadata(id=f"i{i}") if i % 2 else Metadata(key="k")
                group.create_task(sink.write(Outgoing([b"%d" % i], [meta].__getitem__)))
        got = await kit.drain()
        assert sorted(bodies_of(got)) == sorted(b"%d" % i for i in range(40))
        assert all(each.metadata.id == f"i{each.body.decode()}" for each in got if int(each.body) % 2)
        assert all(each.metadata.key == "k" for each in got if not int(each.body) % 2)

    @check
    async def test_the_depth_is_right_where_it_is_told(self, kit: Kit) -> None:
        await kit.write(*[b"x"] * 10)
        source = await kit.source()
        batch = await kit.soon(source.receive(4))
        assert batch.depth in (None, 10 - len(batch))
        await source.release(batch.handles[:1])
        again = await kit.soon(source.receive(1))
        assert again.depth in (None, 10 - len(batch))
