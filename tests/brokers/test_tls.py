"""TLS on a node, with certificates that are made here."""

from __future__ import annotations

import asyncio
import socket
import ssl

import aio_pika
import pytest

from tests.brokers.rabbitmq import Authority, Node


async def who(url: str) -> str:
    """Log in, and use the connection."""
    async with await aio_pika.connect(url) as connection:
        return str((await (await connection.channel()).declare_queue(exclusive=True)).name)


def shown(node: Node, context: ssl.SSLContext) -> tuple[str | None, object]:
    """The version of TLS that is spoken, and the serial number of the certificate that the server shows."""
    peer = socket.create_connection(("127.0.0.1", node.tls_port), 10)
    with peer, context.wrap_socket(peer, server_hostname="localhost") as secure:
        return secure.version(), (secure.getpeercert() or {})["serialNumber"]


def test_a_certificate_logs_in_without_a_password(rabbitmq_tls: Node) -> None:
    assert rabbitmq_tls.tls is not None
    nobody = rabbitmq_tls.tls.client("nobody")
    with pytest.raises(aio_pika.exceptions.AMQPError):
        asyncio.run(who(f"amqps://127.0.0.1:{rabbitmq_tls.tls_port}/?{nobody.query}"))
    rabbitmq_tls.add_user("somebody", "unused")
    somebody = rabbitmq_tls.tls.client("somebody")
    assert asyncio.run(who(f"amqps://127.0.0.1:{rabbitmq_tls.tls_port}/?{somebody.query}"))


def test_a_password_does_too(rabbitmq_tls: Node) -> None:
    assert rabbitmq_tls.tls is not None
    assert asyncio.run(who(f"{rabbitmq_tls.tls_url}?cafile={rabbitmq_tls.tls.ca}"))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_are_spoken(rabbitmq_tls: Node, version: ssl.TLSVersion) -> None:
    assert rabbitmq_tls.tls is not None
    context = ssl.create_default_context(cafile=rabbitmq_tls.tls.ca)
    context.minimum_version = context.maximum_version = version
    assert (shown(rabbitmq_tls, context)[0] or "").replace(".", "_") == version.name


def test_another_authority_is_not_trusted(rabbitmq_tls: Node) -> None:
    stranger = Authority()
    context = ssl.create_default_context(cafile=stranger.ca)
    with pytest.raises(ssl.SSLCertVerificationError):
        shown(rabbitmq_tls, context)


def test_a_certificate_is_replaced_while_the_node_runs(rabbitmq_tls: Node) -> None:
    assert rabbitmq_tls.tls is not None
    context = ssl.create_default_context(cafile=rabbitmq_tls.tls.ca)
    before = shown(rabbitmq_tls, context)
    rabbitmq_tls.present(rabbitmq_tls.tls.server())
    assert shown(rabbitmq_tls, context) != before
