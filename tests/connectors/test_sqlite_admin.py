"""Queue files put in order from outside: what waits keeps its order, and what a worker holds is its own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from warren.connectors import sqlite
from warren.connectors.sqlite.admin import FileAdmin
from warren.core.admin import ERROR, SOURCE
from warren.core.errors import StorageError, TopologyError
from warren.core.message import Metadata, Outgoing

T = TypeVar("T")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "q.db")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


async def write(path: str, queue: str, count: int, **headers: str) -> None:
    connection = await sqlite.queue(path, queue).open()
    known = [Metadata(id=f"{queue}{i}", headers=headers, content_type="application/json") for i in range(count)]
    await connection.write(Outgoing([str(i).encode() for i in range(count)], known.__getitem__))
    await connection.close()


async def bodies(path: str, queue: str, ahead: int = 1000) -> list[int]:
    return [int(body) async for batch in FileAdmin(path).peek(queue, ahead) for body in batch.bodies]


def content(path: str) -> tuple[bytes, bytes]:
    return Path(path).read_bytes(), Path(f"{path}-wal").read_bytes()


def test_what_was_looked_at_is_there_as_it_was(path: str) -> None:
    async def main() -> None:
        await write(path, "orders", 3000)
        connection = await sqlite.queue(path, "orders").open()
        batch = await connection.receive(10)
        assert batch is not None
        await connection.release(batch.handles[:3])
        await connection.release(batch.handles[3:4], delay=3600)
        before = content(path)
        waiting = [0, 1, 2, 3, *range(10, 3000)]
        assert await bodies(path, "orders") == waiting
        assert await bodies(path, "orders", 7) == waiting
        assert content(path) == before, "not a byte was written"
        assert [(q.name, q.depth, q.unacked) for q in await FileAdmin(path).queues()] == [("orders", 2994, 6)]
        await connection.close()

    run(main())


def test_what_a_worker_holds_is_neither_purged_nor_dropped(path: str) -> None:
    async def main() -> None:
        admin = FileAdmin(path)
        await write(path, "orders", 10)
        connection = await sqlite.queue(path, "orders").open()
        batch = await connection.receive(4)
        assert batch is not None
        assert await admin.drop("orders", lambda each: each.id in ("orders1", "orders5", "orders9")) == 2
        assert await bodies(path, "orders") == [4, 6, 7, 8]
        again = await connection.receive(1)
        assert again is not None and again.bodies == [b"4"] and again.deliveries is None, "none was counted as handed out"
        assert await admin.purge("orders") == 3
        assert await admin.purge("orders") == 0
        await connection.close()
        assert await bodies(path, "orders") == [0, 1, 2, 3, 4]

    run(main())


def test_a_deleted_queue_is_noticed_and_its_number_is_not_used_again(path: str) -> None:
    async def main() -> None:
        admin = FileAdmin(path)
        await write(path, "a", 2)
        connection = await sqlite.queue(path, "b").open()
        await admin.delete("b")
        assert await admin.create("c") and not await admin.create("c")
        with pytest.raises(StorageError, match="a queue in use was deleted; start again"):
            await connection.write(Outgoing([b"1"]))
        with pytest.raises(StorageError, match="a queue in use was deleted; start again"):
            await connection.receive(1)
        await connection.close()
        assert [(each.name, each.depth) for each in await admin.queues()] == [("a", 2), ("c", 0)]
        await admin.delete("c")
        await admin.delete("a")
        await write(path, "d", 1)
        assert await bodies(path, "d") == [0]

    run(main())


def test_letters_go_back_as_the_messages_they_were(path: str) -> None:
    async def main() -> None:
        admin = FileAdmin(path)
        await write(path, "orders", 1)
        headers = {ERROR: "ValueError", SOURCE: "sqlite:orders", "warren-first-failed": "5.0", "warren-stage": "1:map"}
        await write(path, "dead", 2500, **headers, shop="eu")
        await write(path, "dead", 1, **{ERROR: "ValueError", SOURCE: "rabbitmq:orders"})
        await write(path, "dead", 1)
        done = await admin.replay("dead", lambda each: each.id != "dead7", limit=2000)
        assert done.moved == 2000 and not done.repeated
        done = await admin.replay("dead", lambda each: each.id != "dead7")
        assert done.moved == 499 and dict(done.left) == {
            "not chosen": 1,
            "it is no dead letter of a pipeline": 1,
            "it came from rabbitmq:orders, which is no queue of this file": 1,
        }
        assert (await admin.replay("dead", lambda each: each.id != "dead7")).moved == 0
        assert await bodies(path, "orders") == [0, *range(7), *range(8, 2500)]
        async for batch in admin.peek("orders"):
            last = batch.metadata(len(batch) - 1)
        assert (last.id, last.headers) == ("dead2499", {"warren-first-failed": "5.0", "shop": "eu"})

    run(main())


def test_what_is_not_there_is_said(path: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no queue file"):
        run(FileAdmin(path).queues())
    run(write(path, "orders", 1))
    for call in (FileAdmin(path).queue, FileAdmin(path).purge, FileAdmin(path).delete):
        with pytest.raises(TopologyError, match=r"there is no queue 'x' in .*; there is 'orders'"):
            run(call("x"))
    (tmp_path / "text").write_text("no database" * 100)
    with pytest.raises(StorageError, match="is not a queue file"):
        run(FileAdmin(str(tmp_path / "text")).queues())
