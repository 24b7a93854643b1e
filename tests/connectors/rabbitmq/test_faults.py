"""Sentences of what went wrong; and that nothing that is said or written anywhere shows a password."""

from __future__ import annotations

import asyncio
import logging
import ssl
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from tests.brokers.proxy import Proxy
from tests.brokers.rabbitmq import Node
from tests.connectors.rabbitmq.hands import broker, eventually, opened, run
from warren import Pipeline
from warren.connectors import memory, rabbitmq
from warren.connectors.rabbitmq import TLS
from warren.connectors.rabbitmq.broker import servers
from warren.connectors.rabbitmq.faults import connect_error, foreign, is_final, unroutable
from warren.core.errors import BrokerError, ConnectorError, StorageError, WarrenError
from warren.core.message import Outgoing

SECRET = "h0rse-b@ttery/staple"
QUOTED = "h0rse-b%40ttery%2Fstaple"
(SERVER,) = servers("amqp://me:pw@mq/shop")
(SECURE,) = servers("amqps://mq")
WHERE, SECURED = "the broker at amqp://me@mq:5672/shop", "the broker at amqps://guest@mq:5671"


class Heard(NamedTuple):
    fault: str | None = None
    farewell: str | None = None


class AuthenticationError(Exception):
    """By this name the client tells that the broker offers no way to log in that it knows."""


def ssl_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "heard", "sentence", "final"),
    [
        (OSError(111, "Connection refused"), Heard(), f"{WHERE} cannot be reached: Connection refused; start it", False),
        (TimeoutError(), Heard(), f"{WHERE} did not answer in time; check the address", False),
        (ValueError("odd"), Heard(), f"{WHERE} cannot be reached: odd; start it", False),
        (KeyError(), Heard(), f"{WHERE} cannot be reached: KeyError; start it", False),
        (
            ConnectionError("Server connection unexpectedly closed."),
            Heard(),
            f"{WHERE} closed the connection without",
            False,
        ),
        (TimeoutError(), Heard(fault="it sent a record of TLS"), f"{WHERE}: it sent a record of TLS; it expects an", True),
        (OSError(), Heard(farewell="530 NOT_ALLOWED - vhost shop not found"), f"{WHERE} has no vhost 'shop' for", True),
        (
            OSError(),
            Heard(farewell="541 INTERNAL_ERROR - x"),
            f"{WHERE} closed the connection: 541 INTERNAL_ERROR - x",
            False,
        ),
        (
            OSError(),
            Heard(farewell="530 NOT_ALLOWED - connection refused for user 'me': user connection limit (1) is reached"),
            f"{WHERE} takes no connection now: connection refused for user 'me': user connection limit (1)",
            False,
        ),
        (
            OSError(),
            Heard(farewell="541 INTERNAL_ERROR - access to vhost 'shop' refused for user 'me': vhost 'shop' is down"),
            f"{WHERE} takes no connection now: access to vhost 'shop' refused",
            False,
        ),
        (
            OSError(),
            Heard(farewell="403 ACCESS_REFUSED - Login was refused"),
            f"{WHERE} refused user 'me': check user",
            True,
        ),
        (OSError("Expected OpenOk, got <Connection.Close object>"), Heard(), f"{WHERE} has no vhost 'shop'", True),
        (AuthenticationError("AMQPLAIN"), Heard(), f"{WHERE} offers no login by PLAIN: enable it there", True),
        (StorageError("TLS: no file"), Heard(), f"{WHERE}: TLS: no file", True),
        (ssl_error("TLSV1_ALERT_PROTOCOL_VERSION"), Heard(), f"{WHERE}: it does not speak TLS 1.2 or newer", True),
        (
            ssl_error("WRONG_VERSION_NUMBER"),
            Heard(),
            f"{WHERE}: it speaks no TLS (WRONG_VERSION_NUMBER); write amqp://",
            True,
        ),
        (ssl_error("SSLV3_ALERT_BAD_CERTIFICATE"), Heard(), f"{WHERE}: it refused our certificate (SSLV3_ALERT", True),
        (ssl_error("SOMETHING"), Heard(), f"{WHERE}: no encrypted connection could be made: SOMETHING; check Broker(", True),
    ],
)
def test_each_error_is_a_sentence_with_place_and_remedy(error: Exception, heard: Heard, sentence: str, final: bool) -> None:
    told = connect_error(error, SERVER, None, heard)
    assert str(told).startswith(sentence)
    assert is_final(told) is final
    assert connect_error(told, SERVER) is told


def test_causes_are_looked_into_however_they_are_linked() -> None:
    try:
        try:
            raise OSError(113, "No route to host")
        except OSError as error:
            raise asyncio.CancelledError from error
    except asyncio.CancelledError as error:
        told = connect_error(error, SERVER)
    assert "cannot be reached: No route to host" in str(told)
    one, other = ValueError("a"), ValueError("b")
    one.__cause__, other.__context__ = other, one
    assert "cannot be reached: a" in str(connect_error(one, SERVER))


def test_certificates_are_named() -> None:
    tls = TLS(certificate="me.pem", external=True)
    refused = connect_error(OSError(), SECURE, tls, Heard(farewell="403 ACCESS_REFUSED - Login was refused"))
    assert str(refused).startswith(f"{SECURED} refused the user that the certificate me.pem names: create that user")
    assert "and we gave me.pem; give one" in str(connect_error(ssl_error("TLSV1_ALERT_UNKNOWN_CA"), SECURE, tls))
    assert "offers no login by EXTERNAL" in str(connect_error(AuthenticationError(), SECURE, tls))
    assert "whether it wants a certificate or another version" in str(connect_error(ConnectionResetError(), SECURE, tls))


def test_what_is_foreign_is_named() -> None:
    assert foreign(b"AMQP\x00\x01\x00\x00") == "the header of AMQP 1.0"
    assert foreign(b"AMQP\x00\x00\x08\x00") == "the header of AMQP 0.8.0"
    assert foreign(b"\x16\x03\x01") == "a record of TLS"
    assert foreign(b"AMQP") == "bytes that begin no frame (b'AMQP')"
    assert len(foreign(b"\x00" * 1000)) < 150


def test_what_leads_nowhere_is_named() -> None:
    assert str(unroutable("NO_ROUTE", "", "q")) == (
        "the queue 'q' leads to no queue (NO_ROUTE): declare the queue, or check its name, then replay the message"
    )
    assert "the exchange 'e' with the routing key 'k' leads to no queue" in str(unroutable("NO_ROUTE", "e", "k"))


# No password, anywhere


class Everything(logging.Handler):
    """All that anybody logs, with what is only shown on request."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))
        arguments = record.args if isinstance(record.args, tuple) else (record.args,)
        self.texts += [f"{each!s} {each!r}" for each in arguments]


@pytest.fixture
def everything() -> Any:
    handler = Everything()
    names = ("", "aio_pika", "aiormq", "aiormq.connection", "asyncio", "pamqp", "warren")
    loggers = [logging.getLogger(each) for each in names]
    before = [(each.level, each.propagate) for each in loggers]
    for each in loggers:
        each.setLevel(logging.DEBUG)
    loggers[0].addHandler(handler)
    yield handler.texts
    loggers[0].removeHandler(handler)
    for each, (level, _) in zip(loggers, before, strict=True):
        each.setLevel(level)


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "plain"])
def test_no_password_is_shown_anywhere(
    rabbitmq_43: Node,
    start_proxy: Callable[[int], Proxy],
    everything: list[str],
    capfd: pytest.CaptureFixture[str],
    lane: bool,
) -> None:
    """With every logger at its most talkative: connecting, failing to, being cut, refused, and stopped."""
    proxy = start_proxy(rabbitmq_43.amqp_port)

    def tell(error: BaseException) -> None:
        everything.extend(traceback.format_exception(error))
        everything.append(repr(error))

    async def attempt(address: str, **options: Any) -> None:
        with pytest.raises(ConnectorError) as caught:
            await rabbitmq.queue("q", broker=broker(address, lane=lane, patience="50ms", **options)).open()
        tell(caught.value)

    async def main(url: str, vhost: str) -> None:
        asyncio.get_running_loop().set_debug(True)
        right = proxy.url(rabbitmq_43.add_user(f"me-{vhost}", SECRET, vhost=vhost))
        wrong = proxy.url(rabbitmq_43.url_of(vhost, "nobody", SECRET))
        elsewhere = proxy.url(rabbitmq_43.url_of("no-such-vhost", f"me-{vhost}", SECRET))
        assert QUOTED in right
        there = broker(right, lane=lane, management=f"http://me:{SECRET}@localhost:15672")
        queue = rabbitmq.queue("q", dict, broker=there)
        everything.extend((repr(there), repr(queue), Pipeline("p", queue | memory.into([])).explain()))
        async with opened(queue, credit=10) as source, opened(queue) as sink:
            await sink.write(Outgoing([{"a": 1}]))
            link = sink.sink.publisher.link
            everything.extend(
                map(repr, (source, sink, link, link.server, link._session.connection, link._session.transport))
            )
            proxy.refuse()
            proxy.cut()
            writing = asyncio.ensure_future(sink.write(Outgoing([{"a": 2}])))

            async def failed() -> bool:
                return link.last_error is not None and "cannot be reached" in str(link.last_error)

            await eventually(failed)
            tell(link.last_error)
            everything.extend(map(repr, asyncio.all_tasks()))
            proxy.accept()
            await writing
        for address in (wrong, elsewhere, f"amqp://me:{QUOTED}@127.0.0.1:1", f"amqp://me:{QUOTED}@127.0.0.1:1,127.0.0.1:2"):
            await attempt(address)
        await attempt(right.replace("amqp://", "amqps://"), tls=TLS(check=False))
        proxy.refuse()
        await attempt(right)
        proxy.accept()
        for refused in (
            rabbitmq.queue("q", broker=there, kind="classic"),
            rabbitmq.exchange("e", broker=there, passive=True),
        ):
            with pytest.raises(WarrenError) as caught:
                await refused.open()
            tell(caught.value)

    with rabbitmq_43.vhost() as url:
        run(lambda: main(url, url.rsplit("/", 1)[1]))
    out, err = capfd.readouterr()
    everything += [out, err]
    assert len(everything) > 200
    assert any("aiormq.connection" in text or "Prepare to send" in text for text in everything)
    pieces = (SECRET, QUOTED, "h0rse", "ttery", "staple")
    assert [text for text in everything if any(piece in text for piece in pieces)] == []


def test_an_error_of_a_broker_is_an_error_of_a_connector() -> None:
    assert isinstance(connect_error(OSError(), SERVER), BrokerError)
