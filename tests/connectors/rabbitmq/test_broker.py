"""Where a broker is, as a value."""

from __future__ import annotations

import copy
import logging
from typing import Any

import pytest

from warren import Pipeline
from warren.connectors import rabbitmq
from warren.connectors.rabbitmq import TLS, Broker
from warren.connectors.rabbitmq.broker import Server, servers
from warren.core.errors import AddressError, GraphError

SECRET = "h0rse-battery"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("amqp://mq.example", Server(False, "mq.example", 5672, "guest", "guest", "/")),
        ("amqps://mq.example", Server(True, "mq.example", 5671, "guest", "guest", "/")),
        ("AMQP://mq.example/", Server(False, "mq.example", 5672, "guest", "guest", "/")),
        ("amqp://me:pw@mq:1/shop", Server(False, "mq", 1, "me", "pw", "shop")),
        ("amqp://me@mq", Server(False, "mq", 5672, "me", "guest", "/")),
        ("amqp://m%40e:p%2F%3Aw@mq/%2F", Server(False, "mq", 5672, "m@e", "p/:w", "/")),
        ("amqp://me:p@w@mq/a%2Fb%20c", Server(False, "mq", 5672, "me", "p@w", "a/b c")),
        ("amqp://[::1]:7/v", Server(False, "::1", 7, "guest", "guest", "v")),
    ],
)
def test_an_address_is_taken_apart(address: str, expected: Server) -> None:
    (found,) = servers(address)
    assert tuple(found) == tuple(expected)
    assert tuple(servers(found.url)[0]) == tuple(found)


def test_hosts_share_the_rest_of_an_address() -> None:
    found = servers("amqp://me:pw@one,two:7,[::1]/shop")
    assert [(each.host, each.port) for each in found] == [("one", 5672), ("two", 7), ("::1", 5672)]
    assert {(each.user, each.password, each.vhost) for each in found} == {("me", "pw", "shop")}
    assert Broker("amqp://me:pw@one,two").servers == Broker(["amqp://me:pw@one", "amqp://me:pw@two"]).servers


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (f"http://me:{SECRET}@mq", "begins with amqp:// or amqps://, and one that begins with http:// does not"),
        (f"me:{SECRET}@mq", "what was given does not"),
        (f"amqp:me:{SECRET}@mq", "what was given does not"),
        (f"amqp://me:{SECRET}", "what stands behind the slashes is no host with a port"),
        (f"amqp://me:{SECRET}@mq:port", "'mq:port' is no host with a port"),
        (f"amqp://me:{SECRET}@mq:70000", "'mq:70000' is no host with a port up to 65535"),
        (f"amqp://me:{SECRET}@mq:", "is no host with a port"),
        (f"amqp://me:{SECRET}@one,", "'' is no host"),
        (f"amqp://me:{SECRET}@[::1", "is no host"),
        (f"amqp://me:{SECRET}@", "'' is no host"),
        (f"amqp://me:{SECRET}@h\N{ACCOUNT OF}", "is no host"),
        (f"amqp://me:{SECRET}/x@mq", "write @ as %40, / as %2F"),
        (f"amqp://me:{SECRET}#x@mq", "write @ as %40, / as %2F"),
        (f"amqp://me:{SECRET}?x@mq/v", "write @ as %40, / as %2F"),
        ("amqp://", "cannot be taken apart"),
        (f"amqp://me:{SECRET}@mq/shop?heartbeat=5", "options do not stand in a broker's address"),
        (f"amqp://me:{SECRET}@mq/a/b", "a vhost with a slash is written with %2F"),
    ],
)
def test_a_bad_address_says_what_is_wrong_and_shows_no_password(address: str, reason: str) -> None:
    with pytest.raises(AddressError, match=reason) as caught:
        Broker(address)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_without_an_address_it_is_the_environment_or_localhost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WARREN_AMQP_URL", raising=False)
    assert [str(each) for each in Broker().servers] == ["amqp://guest@localhost:5672"]
    monkeypatch.setenv("WARREN_AMQP_URL", "amqp://me:pw@one,two/shop")
    assert [str(each) for each in Broker().servers] == ["amqp://me@one:5672/shop", "amqp://me@two:5672/shop"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"heartbeat": "500ms"}, "between 1 s and 10 minutes"),
        ({"heartbeat": 601}, "between 1 s and 10 minutes"),
        ({"heartbeat": "soon"}, "'soon' is not a duration"),
        ({"connections": 0}, "at least 1"),
        ({"failures": 0}, "at least 1"),
        ({"handshake": 0}, "more than nothing"),
        ({"back": "0s"}, "more than nothing"),
        ({"backoff": ("2s", "1s")}, "the first and the longest delay"),
        ({"backoff": ("0s", "1s")}, "the first and the longest delay"),
        ({"backoff": ("1s",)}, "the first and the longest delay"),
        ({"patience": "never"}, "'never' is not a duration"),
        ({"cooldown": -1}, "must not be negative"),
        ({"tls": TLS()}, "only amqps:// addresses are encrypted"),
    ],
)
def test_a_bad_option_says_what_is_wrong(options: Any, reason: str) -> None:
    with pytest.raises(GraphError, match=reason):
        Broker("amqp://mq", **options)


def test_it_is_a_value() -> None:
    one, same = (
        Broker(["amqp://a", "amqp://b"], backoff=["1s", "2s"]),
        Broker(("amqp://a", "amqp://b"), backoff=("1s", "2s")),
    )  # type: ignore[arg-type]  # a list is taken too
    assert one == same and hash(one) == hash(same)
    assert one != Broker("amqp://a")
    assert copy.deepcopy(one) == one


def test_nothing_that_is_shown_has_the_password(caplog: pytest.LogCaptureFixture) -> None:
    tls = TLS(certificate="a.pem", key="a.key", password=SECRET)
    broker = Broker(f"amqps://me:{SECRET}@one,two/shop", tls=tls, management=f"http://me:{SECRET}@one:15672")
    queue, exchange = rabbitmq.queue("in", dict, broker=broker), rabbitmq.exchange("out", broker=broker)
    pipeline = Pipeline("p", queue | exchange)
    shown = [
        repr(each) for each in (broker, broker.servers, tls, queue, exchange, queue.declaration, pipeline, pipeline.flow)
    ]
    shown += [str(each) for each in (broker, *broker.servers, queue, exchange)]
    shown += [pipeline.explain(), pipeline.explain().mermaid, f"{broker.servers!r}", f"{broker.servers[0]}"]
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").debug("%s %r", broker, queue)
    shown.append(caplog.text)
    with pytest.raises(GraphError) as caught:
        exchange | queue  # type: ignore[operator]  # that is the test
    shown.append(str(caught.value))
    assert [text for text in shown if SECRET in text] == []
    assert "one" in repr(broker)
