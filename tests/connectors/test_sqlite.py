"""What is special about queues in a SQLite file; what every queue keeps is in test_conformance."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from warren.connectors import memory, sqlite
from warren.connectors.conformance.kit import Got, handles_of, unpack
from warren.core.errors import GraphError, StorageError
from warren.core.message import Outgoing

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queues.db"


async def write(path: Path, *bodies: Any, name: str = "q") -> None:
    connection = await sqlite.queue(path, name, synchronous="normal").open()
    try:
        await connection.write(Outgoing(bodies))
    finally:
        await connection.close()


async def drain(path: Path, name: str = "q", limit: int = 100) -> list[Got]:
    connection = await sqlite.queue(path, name, synchronous="normal").open(until_empty=True)
    got: list[Got] = []
    try:
        async with asyncio.timeout(20):
            while (batch := await connection.receive(limit)) is not None:
                got += unpack(batch)
                await connection.acknowledge(batch.handles)
    finally:
        await connection.close()
    return got


def bodies(got: Sequence[Got]) -> list[bytes]:
    return [each.body for each in got]


class Child:
    """Another process, which prints when it has come to a point and then waits to be told to go on."""

    def __init__(self, code: str, *arguments: object) -> None:
        prelude = """
            import asyncio, sys
            from warren.connectors import sqlite
            from warren.core.message import Outgoing
            path = sys.argv[1]
        """
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(prelude) + textwrap.dedent(code), *map(str, arguments)],
            cwd=ROOT / "src",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


HOLDER = """
    async def main():
        connection = await sqlite.queue(path, "q").open()
        batch = await connection.receive(3)
        await connection.acknowledge(batch.handles[:1])
        print(len(batch), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await connection.close()

    asyncio.run(main())
"""


def test_what_a_killed_process_held_is_handed_out_at_once(path: Path) -> None:
    asyncio.run(write(path, b"a", b"b", b"c", b"d"))
    with Child(HOLDER, path) as child:
        assert child.line() == "3"
        child.kill()
        got = asyncio.run(drain(path))
    assert bodies(got) == [b"b", b"c", b"d"]
    assert [each.deliveries for each in got] == [2, 2, 1]
    assert [file.name for file in path.parent.iterdir()] == ["queues.db"], "no lock file stays behind"


def test_what_a_killed_process_held_of_two_queues_is_handed_out_at_once(path: Path) -> None:
    for name in ("q", "other"):
        asyncio.run(write(path, b"a", b"b", name=name))
    second = """
        other = await sqlite.queue(path, "other").open()
        await other.receive(3)
        print("""
    with Child(HOLDER.replace("\n        print(", second, 1), path) as child:
        assert child.line() == "2"
        child.kill()
        assert [bodies(asyncio.run(drain(path, name))) for name in ("q", "other")] == [[b"b"], [b"a", b"b"]]


def test_a_waiting_receiver_notices_a_killed_process(path: Path) -> None:
    async def main() -> None:
        await write(path, b"a", b"b", b"c")
        with Child(HOLDER, path) as child:
            assert child.line() == "3"
            connection = await sqlite.queue(path, "q").open()
            waiting = asyncio.ensure_future(connection.receive(5))
            await asyncio.sleep(0)
            child.kill()
            batch = await asyncio.wait_for(waiting, 5)
            assert batch is not None
            assert list(batch.bodies) == [b"b", b"c"]
            await connection.close()

    asyncio.run(main())


def test_what_a_living_process_holds_is_left_to_it(path: Path) -> None:
    asyncio.run(write(path, b"a", b"b", b"c", b"d"))
    with Child(HOLDER, path) as child:
        assert child.line() == "3"

        async def main() -> None:
            connection = await sqlite.queue(path, "q").open()
            batch = await connection.receive(5)
            assert batch is not None
            assert list(batch.bodies) == [b"d"]
            await connection.close()

        asyncio.run(main())
        child.process.communicate("")
    assert bodies(asyncio.run(drain(path))) == [b"b", b"c", b"d"]


def test_a_hanging_process_loses_its_messages_with_its_lease(path: Path) -> None:
    asyncio.run(write(path, b"a", b"b", b"c"))
    with Child(HOLDER.replace('"q")', '"q", lease="1s")'), path) as child:
        assert child.line() == "3"
        child.process.send_signal(signal.SIGSTOP)
        assert bodies(asyncio.run(drain(path))) == [b"b", b"c"]


WORKER = """
    async def main():
        connection = await sqlite.queue(path, "q", synchronous="normal").open(until_empty=True)
        while (batch := await connection.receive(7)) is not None:
            print(b" ".join(batch.bodies).decode(), flush=True)
            await connection.acknowledge(batch.handles)
        await connection.close()

    asyncio.run(main())
"""


def test_two_processes_share_a_queue_without_overlap(path: Path) -> None:
    everything = [b"%d" % i for i in range(1000)]
    asyncio.run(write(path, *everything))
    with Child(WORKER, path) as one, Child(WORKER, path) as two:
        seen = [child.process.communicate(timeout=20)[0].split() for child in (one, two)]
    assert sorted(seen[0] + seen[1], key=int) == [body.decode() for body in everything]
    assert sqlite.depth(path, "q") == 0


PUBLISHER = """
    import itertools
    async def main():
        connection = await sqlite.queue(path, "q", synchronous="normal").open()
        for i in itertools.count():
            await connection.write(Outgoing([b"%d" % (2 * i), b"%d" % (2 * i + 1)]))
            print(2 * i + 2, flush=True)

    asyncio.run(main())
"""


def test_a_killed_publisher_leaves_all_that_was_confirmed_and_no_half_writes(path: Path) -> None:
    with Child(PUBLISHER, path) as child:
        for _ in range(50):
            child.line()
        child.kill()
        assert child.process.stdout is not None
        confirmed = max([100, *map(int, child.process.stdout.read().split())])
    got = bodies(asyncio.run(drain(path)))
    assert got == [b"%d" % i for i in range(len(got))]
    assert len(got) >= confirmed
    assert len(got) % 2 == 0


def test_a_file_that_is_no_queue_file_is_refused(path: Path) -> None:
    path.write_bytes(b"this is no database, whatever its name says. " * 100)
    with pytest.raises(StorageError, match=r"is damaged or is not a queue file .* move it away"):
        asyncio.run(write(path, b"a"))
    assert path.read_bytes().startswith(b"this is no database")


def test_a_damaged_file_is_refused_and_not_made_worse(path: Path) -> None:
    asyncio.run(write(path, *[bytes(1000)] * 50))
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StorageError, match="is damaged"):
        asyncio.run(drain(path))
    assert path.read_bytes() == content


def test_a_damaged_block_is_an_error(path: Path) -> None:
    asyncio.run(write(path, b"a"))
    db = sqlite3.connect(path)
    with db:
        db.execute("UPDATE block SET bodies = x'ff'")
    db.close()
    with pytest.raises(StorageError, match="is damaged"):
        asyncio.run(drain(path))


def test_a_file_of_a_newer_version_is_refused(path: Path) -> None:
    asyncio.run(write(path, b"a"))
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StorageError, match="version 99 and this warren knows version 1"):
        asyncio.run(write(path, b"a"))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"the folder .*nowhere does not exist; create it first"):
        asyncio.run(write(tmp_path / "nowhere" / "q.db", b"a"))


def test_a_folder_that_takes_no_files_is_named() -> None:
    # Nobody can create files there, not even the superuser.
    with pytest.raises(StorageError, match=r"cannot be written .*folder /proc; change its permissions"):
        asyncio.run(write(Path("/proc/queues.db"), b"a"))


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        asyncio.run(write(tmp_path, b"a"))


@contextmanager
def unprivileged() -> Iterator[None]:
    """Nobody's rights, as the superuser may write anything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_read_only_folder_is_refused_and_keeps_what_it_has() -> None:
    with tempfile.TemporaryDirectory() as name:  # tmp_path is closed to everybody but its owner
        path = Path(name) / "queues.db"
        asyncio.run(write(path, b"a"))
        path.chmod(0o444)
        path.parent.chmod(0o555)
        with unprivileged(), pytest.raises(StorageError, match=r"cannot be written .*change its permissions"):
            asyncio.run(write(path, b"b"))
        path.parent.chmod(0o755)
        path.chmod(0o644)
        assert bodies(asyncio.run(drain(path))) == [b"a"]


FILLER = """
    import resource
    from warren.core.errors import StorageError
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    async def main():
        connection = await sqlite.queue(path, "q", synchronous="normal").open()
        held = await connection.receive(1)
        written = 0
        try:
            while True:
                await connection.write(Outgoing([bytes(5000)] * 10))
                written += 10
        except StorageError as error:
            print(written, error)
        await connection.close()

    asyncio.run(main())
"""


def test_a_full_disk_is_an_error_and_nothing_is_lost(path: Path) -> None:
    asyncio.run(write(path, b"first"))
    with Child(FILLER, path) as child:
        output, _ = child.process.communicate(timeout=20)
    written, sentence = output.split(" ", 1)
    assert "the disk is full, failing, or a file-size limit is reached" in sentence
    assert int(written) > 0
    got = bodies(asyncio.run(drain(path)))
    assert got == [b"first"] + [bytes(5000)] * int(written)
    asyncio.run(write(path, b"later"))
    assert bodies(asyncio.run(drain(path))) == [b"later"]


def test_what_is_asked_at_the_same_time_is_one_transaction(path: Path) -> None:
    async def main() -> int:
        connection = await sqlite.queue(path, "q").open()
        await connection.write(Outgoing([b"warm"]))
        statements: list[str] = []
        await connection._store.call(lambda tables: tables.db.set_trace_callback(statements.append))
        # The thread is held at a job until all the writes are asked for.
        gate = threading.Event()
        held = connection._store.call(lambda tables: gate.wait(10))
        writes = [asyncio.ensure_future(connection.write(Outgoing([b"%d" % i]))) for i in range(100)]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(held, *writes)
        await connection._store.call(lambda tables: tables.db.set_trace_callback(None))
        await connection.close()
        return sum(statement == "COMMIT" for statement in statements)

    assert asyncio.run(main()) <= 4
    assert len(asyncio.run(drain(path))) == 101


def test_one_job_that_fails_does_not_fail_the_others(path: Path) -> None:
    def broken(tables: Any) -> None:
        tables.db.execute("INSERT INTO file VALUES ('half')")
        raise ZeroDivisionError

    async def main() -> None:
        connection = await sqlite.queue(path, "q").open()
        gate = threading.Event()
        held = connection._store.call(lambda tables: gate.wait(10))
        jobs = [connection.write(Outgoing([b"a"])), connection._store.call(broken), connection.write(Outgoing([b"b"]))]
        gathered = asyncio.gather(*jobs, return_exceptions=True)
        await asyncio.sleep(0)
        gate.set()
        await held
        results = await gathered
        assert [type(result) for result in results] == [type(None), ZeroDivisionError, type(None)]
        assert await connection._store.call(lambda tables: tables.db.execute("SELECT count(*) FROM file").fetchone()) == (1,)
        await connection.close()

    asyncio.run(main())
    assert sorted(bodies(asyncio.run(drain(path)))) == [b"a", b"b"]


def test_a_rolled_back_block_is_not_remembered(path: Path) -> None:
    def write_read_fail(tables: Any) -> None:
        from warren.connectors.records import Records

        queue = tables.queue("q")
        tables.publish(queue, Records([b"never"]), 0.0)
        assert tables.claim(queue, tables.enter("x", 0.0), 1, 0.0).bodies == [b"never"]
        raise ZeroDivisionError

    async def main() -> None:
        connection = await sqlite.queue(path, "q").open()
        with pytest.raises(ZeroDivisionError):
            await connection._store.call(write_read_fail)
        await connection.write(Outgoing([b"really"]))
        batch = await connection.receive(1)
        assert batch is not None
        assert batch.bodies == [b"really"]
        await connection.close()

    asyncio.run(main())


def test_the_file_does_not_grow_as_messages_pass(path: Path) -> None:
    async def round() -> None:
        connection = await sqlite.queue(path, "q", synchronous="normal").open()
        for _ in range(20):
            await connection.write(Outgoing([bytes(1000)] * 100))
            for _ in range(4):
                batch = await connection.receive(25)
                assert batch is not None
                await connection.acknowledge(batch.handles)
        await connection.close()

    asyncio.run(round())
    first = path.stat().st_size
    asyncio.run(round())
    assert path.stat().st_size <= first * 1.1


def test_nothing_stays_behind_in_the_tables(path: Path) -> None:
    asyncio.run(write(path, *[b"x"] * 3000))
    assert len(asyncio.run(drain(path, limit=77))) == 3000
    db = sqlite3.connect(path)
    counts = [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("block", "pending", "owner")]
    db.close()
    assert counts == [0, 0, 0]


def test_depths(path: Path) -> None:
    with pytest.raises(StorageError, match="there is no queue file"):
        sqlite.depths(path)
    asyncio.run(write(path, b"a", b"b"))
    asyncio.run(write(path, b"c", name="other"))
    assert sqlite.depths(path) == {"other": 1, "q": 2}
    assert (sqlite.depth(path, "q"), sqlite.depth(path, "none")) == (2, 0)


def test_bad_settings_are_refused(path: Path) -> None:
    with pytest.raises(GraphError, match="lease='10ms' is under a second"):
        sqlite.queue(path, "q", lease="10ms")
    with pytest.raises(GraphError, match="neither 'full' nor 'normal'"):
        sqlite.queue(path, "q", synchronous="off")  # type: ignore[call-overload]


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 40)),
        st.tuples(st.just("receive"), st.integers(1, 30)),
        st.tuples(st.just("acknowledge"), st.lists(st.integers(0, 60), max_size=20)),
        st.tuples(st.just("release"), st.lists(st.integers(0, 60), max_size=20)),
        st.tuples(st.just("reopen"), st.none()),
    ),
    max_size=30,
)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Iterator[Path]]:
    return (tmp_path / f"{i}.db" for i in range(10_000))


@given(operations=OPERATIONS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_does_what_the_queue_in_memory_does(folder: Iterator[Path], operations: list[tuple[str, Any]]) -> None:
    queues: list[Any] = [
        sqlite.queue(next(folder), "q", synchronous="normal"),
        memory.queue("q", broker=memory.Broker()),
    ]

    async def play(queue: Any) -> list[Any]:
        log: list[Any] = []
        held: list[Any] = []
        written = 0
        connection = await queue.open(until_empty=True)
        for what, argument in [*operations, ("reopen", None), ("receive", 10_000)]:
            if what == "write":
                await connection.write(Outgoing([b"%d" % i for i in range(written, written + argument)]))
                written += argument
            elif what == "receive":
                batch = await connection.receive(argument)
                if batch is not None:
                    got = unpack(batch)
                    held += handles_of(got)
                    log.append([(each.body, each.deliveries, each.metadata.attempt) for each in got])
                    log.append(batch.depth)
            elif what == "reopen":
                await connection.close()
                held = []
                connection = await queue.open(until_empty=True)
            else:
                chosen = [held[i] for i in argument if i < len(held)]
                settle = connection.acknowledge if what == "acknowledge" else connection.release
                await settle(chosen, **({"attempts": len(chosen)} if what == "release" and chosen else {}))
        await connection.close()
        return log

    assert asyncio.run(play(queues[0])) == asyncio.run(play(queues[1]))
