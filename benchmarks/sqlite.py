"""Durable queues in one SQLite file: enqueue, and dequeue with acknowledgement, 150 bytes a message.

Equal durability: every subject uses the write-ahead log (``journal_mode=WAL``) with ``synchronous=FULL``, so what is
confirmed survives a power cut; in the cases named ``-normal`` every subject uses ``synchronous=NORMAL``, so it survives a
killed process. Each subject is used in the fastest way it offers, messages in groups of 1,000 where it has groups:

- warren: one `write`, or `receive` and `acknowledge`, per group, with four groups under way at a time, as in a pipeline
  (what is asked at the same time is committed together; the others have one call at a time). Writes and acknowledgements
  wait for the disk; claims, which a power cut may undo at no loss, do not. In ``enqueue-single`` each message is a write
  of its own, from 200 tasks at the same time.
- litequeue: its ``transaction()`` around the puts and around the marks of a group; every ``pop`` is its own transaction.
- persist-queue: `SQLiteQueue` with ``auto_commit=False``, whose ``task_done`` acknowledges a group at once, and without
  serialisation; every ``put`` commits. `SQLiteAckQueue`, which commits each step of each message, is slower.
- huey: its `SqliteStorage` alone, without tasks. It has no groups and no acknowledgement: what is dequeued is gone.
- limit: one table, ``executemany`` and one ``DELETE`` per group, in the same file modes, and nothing that makes it a queue.

To measure a dequeue, the others' queues are first filled without waiting for the disk, as that is not counted.
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
AHEAD = 4
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


def measure(
    db: sqlite3.Connection,
    step: Step,
    level: Level,
    size: int,
    enqueue: Callable[[], object],
    dequeue: Callable[[], object],
) -> float:
    """Messages a second of one step, with the connection in the mode that is asked for."""
    if step == "dequeue":
        db.execute("PRAGMA synchronous = OFF")
        enqueue()
    db.execute(f"PRAGMA synchronous = {level}")
    return rate(size, dequeue if step == "dequeue" else enqueue)


def groups(size: int) -> list[int]:
    return [min(GROUP, size - start) for start in range(0, size, GROUP)]


def warren(step: Step, level: Level) -> Callable[[int], float]:
    async def run(size: int) -> float:
        with folder() as at:
            connection = await sqlite.queue(at / "queue.db", "q", synchronous=level).open(until_empty=True)
            left = iter(groups(size))

            async def write() -> None:
                for count in left:
                    await connection.write(Outgoing([BODY] * count))

            async def read() -> None:
                free, done = asyncio.Semaphore(AHEAD), 0
                async with asyncio.TaskGroup() as acknowledging:
                    while (batch := await connection.receive(GROUP)) is not None:
                        done += len(batch)
                        await free.acquire()
                        task = acknowledging.create_task(connection.acknowledge(batch.handles))
                        task.add_done_callback(lambda _: free.release())
                assert done == size

            start = time.perf_counter()
            await asyncio.gather(*(write() for _ in range(AHEAD)))
            if step == "dequeue":
                start = time.perf_counter()
                await read()
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

            found = measure(queue.conn, step, level, size, enqueue if group else enqueue_single, dequeue)
            queue.close()
            return found

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

            def enqueue() -> None:
                for _ in range(size):
                    queue.put(BODY)

            def dequeue() -> None:
                for count in groups(size):
                    for _ in range(count):
                        queue.get(block=False)
                    queue.task_done()

            found = measure(queue._putter, step, level, size, enqueue, dequeue)
            queue.close()
            return found

    return run


def huey(step: Step, level: Level) -> Callable[[int], float]:
    def run(size: int) -> float:
        from huey.storage import SqliteStorage

        with folder() as at:
            storage: Any = SqliteStorage(filename=str(at / "queue.db"), journal_mode="wal")

            def enqueue() -> None:
                for _ in range(size):
                    storage.enqueue(BODY)

            def dequeue() -> None:
                for _ in range(size):
                    assert storage.dequeue() is not None

            found = measure(storage.conn, step, level, size, enqueue, dequeue)
            storage.close()
            return found

    return run


def limit(step: Step, level: Level) -> Callable[[int], float]:
    def run(size: int) -> float:
        with folder() as at:
            db = sqlite3.connect(at / "queue.db", isolation_level=None)
            db.execute("PRAGMA journal_mode = WAL")
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

            found = measure(db, step, level, size, enqueue, dequeue)
            db.close()
            return found

    return run


def subjects(step: Step, level: Level) -> list[Subject]:
    # Where each message waits for the disk, a twentieth of the messages says as much.
    share = 0.05 if level == "full" else 0.5
    return [
        Subject("warren", warren(step, level)),
        Subject("litequeue", litequeue(step, level), "litequeue", 1.0 if step == "enqueue" else 0.05),
        Subject("persist-queue", persist_queue(step, level), "persistqueue", 1.0 if step == "dequeue" else share),
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
    *(Case(step, "messages/s", subjects(step, "full"), 20_000, 10_000, note="survives a power cut") for step in STEPS),
    *(
        Case(f"{s}-normal", "messages/s", subjects(s, "normal"), 20_000, 10_000, note="survives a killed process")
        for s in STEPS
    ),
    Case(
        "enqueue-single", "messages/s", SINGLE, 20_000, 10_000, note="each message confirmed by itself; survives a power cut"
    ),
]
RIVALS = ("litequeue", "persist-queue", "huey")
BENCHMARK = Benchmark("sqlite", CASES, [Bar(case.name, rival, 5.0) for case in CASES for rival in RIVALS])

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
