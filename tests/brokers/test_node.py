"""The nodes that the other tests run against."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import aio_pika
import pytest

from tests.brokers import node as module
from tests.brokers.ports import free_port
from tests.brokers.rabbitmq import Node, NotStarted


async def put(url: str, body: bytes) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("kept", durable=True)
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, "kept")


async def get(url: str) -> bytes:
    async with await aio_pika.connect(url) as connection:
        queue = await (await connection.channel()).get_queue("kept")
        message = await queue.get(no_ack=True)
        assert message is not None
        return message.body


def test_each_version_answers(rabbitmq_each: Node) -> None:
    assert rabbitmq_each.version.startswith(f"{rabbitmq_each.series}.")
    with rabbitmq_each.vhost() as url:
        asyncio.run(put(url, b"here"))
        assert asyncio.run(get(url)) == b"here"


@pytest.fixture(scope="module")
def own(rabbitmq_version: str) -> Iterator[Node]:
    """A node that is not shared, and may be killed and paused."""
    with Node(rabbitmq_version, plugins=["rabbitmq_management"]) as node:
        yield node


def test_a_durable_queue_outlives_a_kill(own: Node) -> None:
    ports = dict(own.ports)
    asyncio.run(put(own.url, b"safe"))
    own.sync()
    own.kill()
    assert not own.running
    own.start()
    assert own.ports == ports
    assert asyncio.run(get(own.url)) == b"safe"


def test_an_alarm_lasts_until_it_is_cleared(own: Node) -> None:
    own.alarm(True)
    with pytest.raises(RuntimeError, match="503"):
        own.api("GET", "health/checks/local-alarms")
    own.alarm(False)
    assert own.api("GET", "health/checks/local-alarms") == {"status": "ok"}


def test_a_paused_node_answers_when_it_goes_on(own: Node) -> None:
    with socket.create_connection(("127.0.0.1", own.amqp_port), 0.2) as peer:
        own.pause()
        peer.sendall(b"nonsense")
        with pytest.raises(TimeoutError):
            peer.recv(8)
        own.resume()
        peer.settimeout(10)
        assert peer.recv(8).startswith(b"AMQP")


def test_a_user_sees_its_own_vhost_only(own: Node) -> None:
    with own.vhost() as url:
        name = urlsplit(url).path[1:]
        assert own.add_user("me", "p@ss/word", vhost=name).endswith(url.rpartition("@")[2])
        asyncio.run(put(own.url_of(name, "me", "p@ss/word"), b"mine"))
        with pytest.raises(aio_pika.exceptions.AMQPError):
            asyncio.run(put(own.url_of("/", "me", "p@ss/word"), b"not mine"))


def test_a_node_that_does_not_start_says_why(rabbitmq_version: str) -> None:
    with pytest.raises(NotStarted, match="unknown variable: nonsense"), Node(rabbitmq_version, config={"nonsense": 1}):
        pass


@pytest.mark.slow
def test_a_port_that_was_taken_meanwhile_is_replaced(rabbitmq_version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        ports = iter([taken])
        monkeypatch.setattr(module, "free_port", lambda: next(ports, None) or free_port())
        with Node(rabbitmq_version) as node:
            assert node.amqp_port != taken
