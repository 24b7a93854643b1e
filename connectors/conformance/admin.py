"""What everything that looks after queues has to keep, as a suite that any connector can run.

A connector's tests subclass `AdminConformance` and give an `Admin` of a place that is empty at first::

    class TestPigeonAdmin(AdminConformance):
        @pytest.fixture(autouse=True)
        def _folder(self, tmp_path):
            self.folder = tmp_path

        def admin(self):
            return PigeonAdmin(self.folder)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any

from warren.connectors.conformance.kit import Got, Kit, bodies_of, check, unpack
from warren.core.admin import ERROR, SOURCE, Admin, Replayed
from warren.core.errors import TopologyError
from warren.core.message import Metadata

__all__ = ["AdminConformance"]

COUNT = 30
BODIES = [str(i).encode() for i in range(COUNT)]


class AdminConformance:
    """The suite; see the module for how to use it."""

    deadline: float = 20.0
    """Seconds after which something that does not come is given up."""
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None

    def admin(self) -> Admin:
        """What looks after the queues."""
        raise NotImplementedError("say what looks after the queues: def admin(self)")

    def queue(self, name: str) -> Any:
        """The queue of that name, to read from; what it gives to write to unless said otherwise."""
        return self.admin().outlet(name)

    def sink(self, name: str) -> Any:
        """What writes to the queue of that name."""
        return self.admin().outlet(name)

    @check
    async def test_a_queue_is_made_once_and_is_gone_when_it_was_deleted(self, kit: Kit) -> None:
        admin = self.admin()
        assert await admin.create("a") is True
        assert await admin.create("a") is False
        found = await admin.queue("a")
        assert (found.name, found.depth) == ("a", 0)
        await admin.create("b")

        async def names() -> list[str]:
            return [each.name for each in await admin.queues()]

        await self._becomes(names, ["a", "b"])
        await admin.delete("a")
        await self._becomes(names, ["b"])

    @check
    async def test_a_queue_that_is_not_there_is_a_topology_error(self, kit: Kit) -> None:
        admin = self.admin()
        await admin.create("a")

        async def peek(name: str) -> None:
            await self._look(name)

        async def drop(name: str) -> None:
            await admin.drop(name, lambda _: True)

        async def replay(name: str) -> None:
            await admin.replay(name, lambda _: True, limit=None, rate=None)

        for call in (admin.queue, admin.delete, admin.purge, admin.caution, peek, drop, replay):
            said = ""
            try:
                await call("none")
            except TopologyError as error:
                said = str(error)
            assert "'none'" in said, f"{call} does not say that there is no such queue"

    @check
    async def test_a_check_up_raises_nothing_and_tells_of_the_queue(self, kit: Kit) -> None:
        admin = self.admin()
        await admin.create("a")

        async def problems(name: str) -> list[str]:
            found = [finding async for finding in admin.checkup(name)]
            assert found and all(each.remedy for each in found if each.state == "problem")
            return [each.what for each in found if each.state == "problem"]

        assert await problems("") == await problems("a") == []
        assert await problems("none") == ["queue"]

    @check
    async def test_a_look_leaves_every_message_in_its_place(self, kit: Kit) -> None:
        known = [Metadata(id=f"m{i}", key=f"k{i}", headers={"n": str(i)}) for i in range(COUNT)]
        await self._fill(kit, "a", known)
        # All, some, then fewer than were looked at before, then in small parts; ended early as well.
        for most, ahead in [(COUNT, 1000), (9, 9), (2, 2), (COUNT, 4), (1, 1), (COUNT, 1000)]:
            seen = await self._look("a", most, ahead)
            assert bodies_of(seen) == BODIES[:most], (most, ahead)
            assert [(m.metadata.id, m.metadata.key) for m in seen] == [(m.id, m.key) for m in known[:most]]
            assert [m.metadata.headers["n"] for m in seen] == [m.headers["n"] for m in known[:most]]
            await self._has("a", COUNT)
        assert bodies_of(await kit.drain("a")) == BODIES

    @check
    async def test_what_comes_during_a_look_is_behind_what_was_there(self, kit: Kit) -> None:
        await self._fill(kit, "a")
        async with aclosing(self.admin().peek("a", 10)) as batches:
            assert bodies_of(unpack(await anext(batches))) == BODIES[:10]
            await kit.write(b"late", name="a")
        await self._has("a", COUNT + 1)
        assert bodies_of(await self._look("a")) == [*BODIES, b"late"]

    @check
    async def test_what_is_meant_is_dropped_and_the_rest_keeps_its_order(self, kit: Kit) -> None:
        await self._fill(kit, "a", [Metadata(id=str(i)) for i in range(COUNT)])
        assert await self.admin().drop("a", lambda each: int(each.id) % 3 == 0) == COUNT // 3
        kept = [body for i, body in enumerate(BODIES) if i % 3]
        await self._has("a", len(kept))
        assert bodies_of(await self._look("a")) == kept
        assert await self.admin().purge("a") == len(kept)
        assert await self._look("a") == []

    @check
    async def test_what_a_worker_holds_is_neither_seen_nor_removed(self, kit: Kit) -> None:
        await self._fill(kit, "a")
        source = await kit.source("a")
        got = await kit.take(source, 4)
        await self._has("a", COUNT - 4)
        assert bodies_of(await self._look("a")) == BODIES[4:]
        assert await self.admin().purge("a") == COUNT - 4
        await source.release([each.handle for each in got])
        await source.close()
        await self._has("a", 4)
        assert bodies_of(await self._look("a")) == BODIES[:4]

    @check
    async def test_letters_go_back_once_as_the_messages_they_were(self, kit: Kit) -> None:
        admin = self.admin()
        await admin.create("a")
        home = {ERROR: "TimeoutError", SOURCE: self.sink("a").name, "warren-stage": "1:map", "shop": "eu"}
        known = [Metadata(id=str(i), key="k", headers=home, content_type="application/json") for i in range(COUNT)]
        known[5] = Metadata(id="5", headers={**home, SOURCE: "elsewhere:a"})
        known[6] = Metadata(id="6")
        await self._fill(kit, "a.dead", known)
        heard: list[Replayed] = []
        done = await admin.replay("a.dead", lambda each: each.id != "7", limit=10, rate=None, progress=heard.append)
        assert (done.moved, done.repeated) == (10, 0)
        assert heard and not any(each.repeated for each in heard)
        await self._has("a.dead", COUNT - 10)
        done = await admin.replay("a.dead", lambda each: each.id != "7", limit=None, rate=None)
        assert done.moved == COUNT - 13
        assert sorted(done.left.values()) == [1, 1, 1] and done.left["not chosen"] == 1
        await self._has("a.dead", 3)
        again = await admin.replay("a.dead", lambda each: each.id != "7", limit=None, rate=None)
        assert (again.moved, dict(again.left)) == (0, dict(done.left))
        back = await self._look("a")
        assert [int(body) for body in bodies_of(back)] == [i for i in range(COUNT) if i not in (5, 6, 7)]
        first = back[0].metadata
        assert (first.id, first.key, first.headers["shop"]) == ("0", "k", "eu")
        assert not {ERROR, SOURCE, "warren-stage"} & first.headers.keys()

    async def _fill(self, kit: Kit, name: str, known: Sequence[Metadata] | None = None) -> None:
        await self.admin().create(name)
        await kit.write(*BODIES, name=name, metadata=known)
        await self._has(name, COUNT)

    async def _look(self, name: str, most: int = 1000, ahead: int = 1000) -> list[Got]:
        seen: list[Got] = []
        async with aclosing(self.admin().peek(name, ahead)) as batches:
            async for batch in batches:
                seen += unpack(batch)
                if len(seen) >= most:
                    break
        return seen[:most]

    async def _has(self, name: str, count: int) -> None:
        async def depth() -> int | None:
            return (await self.admin().queue(name)).depth

        await self._becomes(depth, count)

    async def _becomes(self, ask: Callable[[], Any], wanted: Any) -> None:
        """Ask until that is the answer: a broker may take a moment to count."""
        end = time.monotonic() + self.deadline
        while (found := await ask()) != wanted:
            assert time.monotonic() < end, f"it is {found!r}, and not {wanted!r}"
            await asyncio.sleep(0.02)
