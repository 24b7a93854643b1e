"""Data frames as messages: one row fails alone, and any client with an Arrow library reads and writes them."""

from __future__ import annotations

import asyncio
import io
import signal
import subprocess
import sys
from typing import Any

import aio_pika
import msgspec
import polars as pl
import pyarrow as pa
import pytest

from tests.brokers.rabbitmq import Node
from tests.connectors.rabbitmq.hands import Foreign, broker, drain, opened, run, write
from warren import Pipeline, constant
from warren.connectors import memory, rabbitmq
from warren.core.codecs import ARROW, ARROW_ZSTD
from warren.operators import encode, explode, frames, map, retry

FRAME = pl.DataFrame({"id": [f"o{i}" for i in range(100)], "n": range(100)})


class Order(msgspec.Struct):
    id: str
    n: int


@pytest.fixture(params=[True, False], ids=["lane", "plain"])
def at(request: pytest.FixtureRequest, vhost: str) -> rabbitmq.Broker:
    """A broker with a vhost of this test alone, over the fast lane and without it."""
    return broker(vhost, lane=request.param)


def frame(name: str, at: rabbitmq.Broker, **options: Any) -> rabbitmq.Queue[pl.DataFrame]:
    return rabbitmq.queue(name, pl.DataFrame, broker=at, **options)


async def go(flow: Any, **options: Any) -> None:
    await Pipeline("p", flow, **options).start(until_empty=True)


def pyarrow_read(body: bytes) -> Any:
    with pa.ipc.open_stream(body) as reader:
        return reader.read_all()


def pyarrow_write(table: Any, rows: int, compression: str | None = None) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table, max_chunksize=rows)
    return sink.getvalue()


@pytest.mark.parametrize("packed", [False, True])
def test_a_client_of_another_make_reads_what_a_pipeline_wrote(at: rabbitmq.Broker, packed: bool) -> None:
    async def main() -> None:
        out: Any = encode(ARROW_ZSTD) | frame("out", at) if packed else frame("out", at)
        await go(memory.items(map_rows(FRAME)) | frames(40) | out)
        async with Foreign.at(at.servers[0].url) as foreign:
            messages = await foreign.wait("out", 3)
        assert {message.content_type for message in messages} == {ARROW}
        tables = [pyarrow_read(message.body) for message in messages]
        assert [table.num_rows for table in tables] == [40, 40, 20]
        assert pa.concat_tables(tables).to_pylist() == FRAME.to_dicts()
        assert len({message.message_id for message in messages}) == 3

    run(main)


def test_routing_keys_and_headers_are_computed_from_the_frame_that_is_packed(at: rabbitmq.Broker) -> None:
    async def main() -> None:
        def first(frame: pl.DataFrame) -> str:
            return str(frame["id"][0])

        key = {"key": first, "headers": lambda frame: {"rows": str(frame.height)}}
        into = rabbitmq.exchange("all", broker=at, routing_key=first, **key)
        bound = rabbitmq.queue("bound", broker=at, bind=[rabbitmq.Binding("all", "o7")])
        async with opened(bound):
            await go(memory.items([FRAME[7:10]]) | encode(ARROW_ZSTD) | into)
        (got,) = await drain(bound)
        assert pyarrow_read(got.body).num_rows == 3
        assert (got.metadata.key, got.metadata.headers["rows"]) == ("o7", "3")

    run(main)


def map_rows(frame: pl.DataFrame) -> list[Order]:
    return [Order(**row) for row in frame.to_dicts()]


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_a_pipeline_reads_what_a_client_of_another_make_wrote(at: rabbitmq.Broker, compression: str | None) -> None:
    async def main() -> None:
        body = pyarrow_write(pa.table({"id": ["a", "b", "c"], "n": [1, 2, 3]}), 2, compression)
        source, seen = frame("in", at), list[Any]()
        async with opened(source), Foreign.at(at.servers[0].url) as foreign:
            await foreign.send("in", body, content_type=ARROW)
            # No content type at all: the queue's declared type says what it is.
            await foreign.send("in", body)
            await foreign.send("in", b"junk", content_type=ARROW)
            await foreign.send("in", b"[1]", content_type="application/json")
            await go(source | explode(Order) | memory.into(seen))
            assert seen == [Order("a", 1), Order("b", 2), Order("c", 3)] * 2
            dead = await foreign.wait("p.dead", 2)
        assert [message.body for message in dead] == [b"junk", b"[1]"]
        assert {message.headers["warren-error"] for message in dead} == {"DecodeError"}

    run(main)


def test_a_row_that_fails_is_a_letter_that_goes_through_the_same_pipeline_again(at: rabbitmq.Broker) -> None:
    fixed = 0

    def check(order: Order) -> Order:
        if order.n % 50 == 17 and not fixed:
            raise ValueError(f"no {order.n}")
        return order

    async def main() -> None:
        nonlocal fixed
        source = frame("in", at, headers=lambda _: {"day": "monday"})
        flow = source | explode(Order) | map(check) | frames(1000, "50ms") | frame("out", at)
        await write(source, FRAME)
        await go(flow)
        async with Foreign.at(at.servers[0].url) as foreign:
            assert await foreign.depth("in") == 0
            (message,) = await foreign.wait("out")
            assert pyarrow_read(message.body)["n"].to_pylist() == [n for n in range(100) if n not in (17, 67)]
            dead = await foreign.wait("p.dead", 2)
            assert await foreign.depth("p.dead") == 0
            for letter, n in zip(dead, (17, 67), strict=True):
                assert pyarrow_read(letter.body).to_pylist() == [{"id": f"o{n}", "n": n}]
                assert letter.content_type == ARROW
                assert {name: letter.headers[name] for name in ("day", "warren-row", "warren-reason", "warren-source")} == {
                    "day": "monday",
                    "warren-row": str(n),
                    "warren-reason": f"no {n}",
                    "warren-source": "rabbitmq:in",
                }
            assert len({letter.message_id for letter in dead}) == 2
            fixed = 1
            for letter in dead:
                await foreign.channel.default_exchange.publish(
                    aio_pika.Message(letter.body, content_type=letter.content_type, headers=letter.headers), "in"
                )
            await go(flow)
            (message,) = await foreign.wait("out")
            assert pyarrow_read(message.body)["n"].to_pylist() == [17, 67]

    run(main)


def test_one_row_is_tried_again_by_itself(at: rabbitmq.Broker) -> None:
    asked: list[int] = []

    def ask(order: Order) -> int:
        asked.append(order.n)
        if order.n == 3 and asked.count(3) < 3:
            raise ConnectionError("busy")
        return order.n

    async def main() -> None:
        source, seen = frame("in", at), list[int]()
        await write(source, FRAME[:10])
        await go(source | explode(Order) | map(ask) | retry(constant("10ms", attempts=3)) | memory.into(seen))
        assert sorted(seen) == list(range(10))
        assert asked == [*range(10), 3, 3]
        async with Foreign.at(at.servers[0].url) as foreign:
            assert await foreign.depth("in") == 0

    run(main)


# Ten rows; the worker is killed when five are safe and the sixth is under way.
WORKER = """
import asyncio, os, signal, sys
import aio_pika
import polars as pl
from warren import Pipeline
from warren.connectors import rabbitmq
from warren.operators import explode, map

async def work(row):
    if row["n"] == 5:
        async with await aio_pika.connect(sys.argv[1]) as connection:
            channel = await connection.channel()
            while (await channel.declare_queue("out", passive=True)).declaration_result.message_count < 5:
                await asyncio.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    return row

at = rabbitmq.Broker(sys.argv[1])
flow = rabbitmq.queue("in", pl.DataFrame, broker=at) | explode() | map(work, concurrency=1)
Pipeline("p", flow | rabbitmq.queue("out", broker=at)).run(until_empty=True)
"""


def test_after_a_kill_the_batch_comes_again_whole(vhost: str) -> None:
    at = broker(vhost)

    async def main() -> None:
        source, out = frame("in", at), rabbitmq.queue("out", dict[str, Any], broker=at)
        await write(source, FRAME[:10])
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, vhost, env={"PYTHONPATH": "src"}, stderr=subprocess.PIPE
        )
        _, said = await worker.communicate()
        assert worker.returncode == -signal.SIGKILL, said.decode()[-2000:]
        await go(source | explode() | out)
        numbers = [msgspec.json.decode(got.body)["n"] for got in await drain(out)]
        # What was confirmed before the kill is there twice; nothing is missing.
        assert numbers[:5] == [0, 1, 2, 3, 4]
        assert numbers[5:] == list(range(10))

    run(main)


def test_packed_frames_on_each_version(rabbitmq_each: Node) -> None:
    async def main() -> None:
        with rabbitmq_each.vhost() as url:
            at, seen = broker(url), list[pl.DataFrame]()
            large = pl.concat([FRAME] * 3000)
            await go(memory.items([large]) | encode(ARROW_ZSTD) | frame("q", at))
            await go(memory.items([large]) | frame("q", at))
            await go(frame("q", at) | memory.into(seen))
            assert [each.equals(large) for each in seen] == [True, True]

    run(main)
