"""Durable queues in one SQLite file: enqueue, and dequeue with acknowledgement, 150 bytes a message.

Equal durability: every subject uses the write-ahead log (``journal_mode=WAL``) with ``synchronous=FULL``, so what is
confirmed survives a power cut; in the cases named ``-normal`` every subject uses ``synchronous=NORMAL``, so it survives a
killed process. Each subject is used in the fastest way it offers, messages in groups of 1,000 where it has groups:

- warren: one `write`, or `receive` and `acknowledge`, per group. Writes and acknowledgements wait for the disk; claims,
  which a power cut may undo at no loss, do not. In ``enqueue-single`` each message is a write of its own, from 200 tasks
  at the same time.
- litequeue: its ``transaction()`` around the puts and around the marks of a group; every ``pop`` is its own transaction.
- persist-queue: `SQLiteQueue` with ``auto_commit=False``, whose ``task_done`` acknowledges a group at once, and without
  serialisation; every ``put`` commits. `SQLiteAckQueue`, which commits each step of each message, is slower.
- huey: its `SqliteStorage` alone, without tasks. It has no groups and no acknowledgement: what is dequeued is gone.
- limit: one table, ``executemany`` and one ``DELETE`` per group, in the same file modes, and nothing that makes it a queue.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from benchmarks.harness import Bar, Benchmark, Case, Subject, main
from warren.connectors import sqlite
from warren.core.message import Outgoing

GROUP = 1000
TASKS = 200
BODY = b'{"id": 12345678, "carrier": "UA", "origin": "EWR", "destination": "IAH", "scheduled": "2013-01-01T05:15:00", '
BODY += b"x" * (150 - len(BODY))
TEXT = BODY.decode()

Level = Literal["full", "normal"]
Step = Literal["enqueue", "dequeue"]


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bench-sqlite-") as name:
        yield Path(name)


def rate(size: int, work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return size / (time.perf_counter() - start)


def groups(size: int) -> list[int]:
    return [min(GROUP, size - start) for start in range(0, size, GROUP)]


def warren(step: Step, level: Level) -> Callable[[int], float]:
    async def run(size: int) -> float:
        with folder() as at:
            connection = await sqlite.queue(at / "queue.db", "q", synchronous=level).open(until_empty=True)
            start = time.perf_counter()
            for count in groups(size):
                await connection.write(Outgoing([BODY] * count))
            if step == "dequeue":
                start = time.perf_counter()
                done = 0
                while (batch := await connection.receive(GROUP)) is not None:
                    done += len(batch)
                    await connection.acknowledge(batch.handles)
                assert done == size
            elapsed = time.perf_counter() - start
            await connection.close()
            return size / elapsed

    return lambda size: asyncio.run(run(size))


def warren_single(size: int) -> float:
    async def run() -> float:
        with folder() as at:
            connection = await sqlite.queue(at / "queue.db", "q").open()
            left = iter(range(size))

            async def task() -> None:
                for _ in left:
                    await connection.write(Outgoing([BODY]))

            start = time.perf_counter()
            await asyncio.gather(*(task() for _ in range(TASKS)))
            elapsed = time.perf_counter() - start
            await connection.close()
            return size / elapsed

    return asyncio.run(run())


def litequeue(step: Step, level: Level, *, group: bool = True) -> Callable[[int], float]:
    def run(size: int) -> float:
        from litequeue import LiteQueue

        with folder() as at:
            queue: Any = LiteQueue(at / "queue.db")
            queue.conn.execute(f"PRAGMA synchronous = {level}")

            def enqueue() -> None:
                for count in groups(size):
                    with queue.transaction():
                        for _ in range(count):
                            queue.put(TEXT)

            def enqueue_single() -> None:
                for _ in range(size):
                    queue.put(TEXT)

            def dequeue() -> None:
                for count in groups(size):
                    ids = [queue.pop().message_id for _ in range(count)]
                    with queue.transaction():
                        for each in ids:
                            queue.done(each)

            put = rate(size, enqueue if group else enqueue_single)
            got = rate(size, dequeue) if step == "dequeue" else put
            queue.close()
            return got

    return run


class Unchanged:
    """A serializer for persist-queue that leaves bytes as they are."""

    dumps = staticmethod(bytes)
    loads = staticmethod(bytes)


def persist_queue(step: Step, level: Level) -> Callable[[int], float]:
    def run(size: int) -> float:
        from persistqueue import SQLiteQueue

        with folder() as at:
            queue: Any = SQLiteQueue(str(at), auto_commit=False, serializer=Unchanged)
            queue._putter.execute(f"PRAGMA synchronous = {level}")

            def enqueue() -> None:
                for _ in range(size):
                    queue.put(BODY)

            def dequeue() -> None:
                for count in groups(size):
                    for _ in range(count):
                        queue.get(block=False)
                    queue.task_done()

            put = rate(size, enqueue)
            got = rate(size, dequeue) if step == "dequeue" else put
            queue.close()
            return got

    return run


def huey(step: Step, level: Level) -> Callable[[int], float]:
    def run(size: int) -> float:
        from huey.storage import SqliteStorage

        with folder() as at:
            storage: Any = SqliteStorage(filename=str(at / "queue.db"), journal_mode="wal")
            storage.conn.execute(f"PRAGMA synchronous = {level}")

            def enqueue() -> None:
                for _ in range(size):
                    storage.enqueue(BODY)

            def dequeue() -> None:
                for _ in range(size):
                    assert storage.dequeue() is not None

            put = rate(size, enqueue)
            got = rate(size, dequeue) if step == "dequeue" else put
            storage.close()
            return got

    return run


def limit(step: Step, level: Level) -> Callable[[int], float]:
    def run(size: int) -> float:
        with folder() as at:
            db = sqlite3.connect(at / "queue.db", isolation_level=None)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA synchronous = {level}")
            db.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, body BLOB)")

            def enqueue() -> None:
                for count in groups(size):
                    db.execute("BEGIN")
                    db.executemany("INSERT INTO message VALUES (NULL, ?)", [(BODY,)] * count)
                    db.execute("COMMIT")

            def dequeue() -> None:
                for _ in groups(size):
                    rows = db.execute("SELECT id, body FROM message ORDER BY id LIMIT ?", (GROUP,)).fetchall()
                    db.execute("DELETE FROM message WHERE id <= ?", (rows[-1][0],))

            put = rate(size, enqueue)
            got = rate(size, dequeue) if step == "dequeue" else put
            db.close()
            return got

    return run


def subjects(step: Step, level: Level) -> list[Subject]:
    # Where each message waits for the disk, a twentieth of the messages says as much.
    share = 0.05 if level == "full" else 0.5
    return [
        Subject("warren", warren(step, level)),
        Subject("litequeue", litequeue(step, level), "litequeue", 1.0 if step == "enqueue" else share),
        Subject("persist-queue", persist_queue(step, level), "persistqueue", share),
        Subject("huey", huey(step, level), "huey", share),
        Subject("limit", limit(step, level)),
    ]


SINGLE = [
    Subject("warren", warren_single),
    Subject("litequeue", litequeue("enqueue", "full", group=False), "litequeue", 0.05),
    Subject("persist-queue", persist_queue("enqueue", "full"), "persistqueue", 0.05),
    Subject("huey", huey("enqueue", "full"), "huey", 0.05),
]

STEPS: tuple[Step, ...] = ("enqueue", "dequeue")
CASES = [
    *(Case(step, "messages/s", subjects(step, "full"), 20_000, note="survives a power cut") for step in STEPS),
    *(Case(f"{s}-normal", "messages/s", subjects(s, "normal"), 20_000, note="survives a killed process") for s in STEPS),
    Case("enqueue-single", "messages/s", SINGLE, 20_000, note="each message confirmed by itself; survives a power cut"),
]
RIVALS = ("litequeue", "persist-queue", "huey")
BENCHMARK = Benchmark("sqlite", CASES, [Bar(case.name, rival, 5.0) for case in CASES for rival in RIVALS])

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
