"""RabbitMQ by address."""

from __future__ import annotations

import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.connectors.rabbitmq.hands import drain, run
from warren import Pipeline
from warren.connectors import address, memory, rabbitmq
from warren.connectors.rabbitmq.topology import ExchangeDeclaration, QueueDeclaration
from warren.core.errors import AddressError

SECRET = "h0rse-battery"


def test_a_queue() -> None:
    text = f"amqp://me:{SECRET}@one,two:7/shop?queue=orders&kind=classic&passive=true&max_deliveries=3&lane=false"
    source = address.source(text + "&heartbeat=2s&connections=3&patience=1m&name=billing&persistent=false", dict)
    assert isinstance(source, rabbitmq.Queue)
    assert (source.queue, source.type, source.max_deliveries, source.persistent) == ("orders", dict, 3, False)
    assert source.declaration == QueueDeclaration("orders", "classic", passive=True)
    broker = source.broker
    assert repr(broker) == "Broker(amqp://me@one:5672/shop, amqp://me@two:7/shop)"
    assert (broker.lane, broker.heartbeat, broker.connections, broker.patience, broker.name) == (
        False,
        "2s",
        3,
        "1m",
        "billing",
    )
    assert broker.servers[0].password == SECRET


def test_the_usual_is_the_same_as_in_code() -> None:
    source = address.source("amqp://mq.example?queue=orders")
    usual = rabbitmq.queue("orders", broker=rabbitmq.Broker("amqp://mq.example"))
    assert isinstance(source, rabbitmq.Queue)
    assert (source.declaration, source.max_deliveries, source.persistent) == (
        usual.declaration,
        usual.max_deliveries,
        usual.persistent,
    )
    assert source.broker.servers == usual.broker.servers
    single = address.source("amqp://mq.example?queue=orders&single_active=true")
    assert isinstance(single, rabbitmq.Queue)
    assert single.declaration.table["x-single-active-consumer"] is True
    later = address.source("amqp://mq.example?queue=orders&delayed_retry=1s,1m")
    assert isinstance(later, rabbitmq.Queue)
    assert later.delayed_retry == (1.0, 60.0)


def test_an_exchange() -> None:
    sink = address.sink("amqp://mq.example/shop?exchange=events&kind=direct&routing_key=new&passive=true")
    assert isinstance(sink, rabbitmq.Exchange)
    assert sink.declaration == ExchangeDeclaration("events", "direct", passive=True)
    assert sink.routing_key == "new"
    assert isinstance(address.sink("amqp://mq.example?queue=orders"), rabbitmq.Queue)


def test_tls() -> None:
    text = "amqps://mq.example/%2Fa%20b?queue=q&ca=ca.pem&certificate=me.pem&key=me.key&external=true&least=1.3&check=false"
    source = address.source(text)
    assert isinstance(source, rabbitmq.Queue)
    tls = rabbitmq.TLS(ca="ca.pem", certificate="me.pem", key="me.key", external=True, least="1.3", check=False)
    assert source.broker.tls == tls
    assert str(source.broker.servers[0]) == "amqps://guest@mq.example:5671//a b"


def test_without_a_host_the_environment_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARREN_AMQP_URL", f"amqp://me:{SECRET}@one/shop")
    source = address.source("amqp:?queue=orders")
    assert isinstance(source, rabbitmq.Queue)
    assert repr(source.broker) == "Broker(amqp://me@one:5672/shop)"
    with pytest.raises(AddressError, match="which is not encrypted; write amqps://"):
        address.source("amqps:?queue=orders")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("amqp://me:SECRET@mq/shop", r"amqp://me@mq/shop: which queue\? write"),
        ("amqp://me:SECRET@mq/shop?queue=", "which queue"),
        ("amqp://me:SECRET@mq?queue=q&exchange=e", "an exchange cannot be read"),
        ("amqp://me:SECRET@mq?queue=q&colour=red", "unknown option 'colour'; amqp knows queue, kind"),
        ("amqp://me:SECRET@mq?queue=q&queue=r", "an option is given twice"),
        ("amqp://me:SECRET@mq?queue=q&passive=maybe", "passive=maybe is neither true nor false"),
        ("amqp://me:SECRET@mq?queue=q&max_deliveries=many", "max_deliveries=many is not a whole number"),
        ("amqp://me:SECRET@mq?queue=q&delayed_retry=1s", "delayed_retry=1s is not two durations with a comma between"),
        ("amqp://me:SECRET@mq?queue=q&delayed_retry=1m,1s", "the longest one, which is not shorter"),
        ("amqp://me:SECRET@mq?queue=q&kind=odd", "there are 'quorum', 'classic' and 'stream'"),
        ("amqp://me:SECRET@mq?queue=q&heartbeat=soon", "'soon' is not a duration"),
        ("amqp://me:SECRET@mq?queue=q&ca=x.pem", "only amqps:// addresses are encrypted"),
        ("amqps://me:SECRET@mq?queue=q&least=1.0", "give '1.2' or '1.3'"),
        ("amqps://me:SECRET@mq?queue=q&external=true", "it belongs to a certificate"),
        ("amqp://me:SECRET@mq:port?queue=q", "'mq:port' is no host with a port"),
        ("amqp:me:SECRET@mq?queue=q", "two slashes and a host are missing"),
        ("amqp://me:SECRET?queue=q", "is no host with a port"),
        ("amqp://me:SECRET#x@mq?queue=q", "which queue"),
        ("amqp://me:SECRET?x@mq/v?queue=q", "what follows the [?] is no option"),
        ("amqp://me:SECRET@[mq?queue=q", "is not an address"),
        ("amqp://me:SECRET@m\N{ACCOUNT OF}?queue=q", "is not an address"),
        ("ampq://me:SECRET@mq?queue=q", "ampq://me@mq[?]queue=q: no connector knows the scheme 'ampq'"),
        ("me:SECRET@mq", "no connector knows the scheme 'me'"),
    ],
)
def test_a_bad_address_says_what_is_wrong_and_shows_no_password(text: str, reason: str) -> None:
    with pytest.raises(AddressError, match=reason) as caught:
        address.source(text.replace("SECRET", SECRET))
    assert SECRET not in str(caught.value)


def test_an_address_that_is_taken_apart_shows_no_password() -> None:
    parts = address.parse(f"amqp://me:{SECRET}@mq/shop?queue=q")
    assert SECRET not in repr(parts) + parts.text
    assert SECRET in parts.host


def test_a_pipeline_between_addresses(vhost: str) -> None:
    # A broker that is not ours gives no vhost of our own.
    name = f"test-{secrets.token_hex(4)}"
    flow = address.source(f"{vhost}?queue={name}&kind=classic", int) | address.sink(f"{vhost}?queue={name}-out")
    Pipeline("fill", memory.items(range(10)) | address.sink(f"{vhost}?queue={name}&kind=classic")).run()
    Pipeline(name, flow).run(until_empty=True)
    got = run(lambda: drain(address.source(f"{vhost}?queue={name}-out")))
    assert [each.body for each in got] == [b"%d" % i for i in range(10)]


def test_without_the_client_the_error_says_what_to_install(tmp_path: Path) -> None:
    code = """
import asyncio, importlib.abc, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("aio_pika", "aiormq", "pamqp", "yarl"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from warren.connectors import address
from warren.core.errors import BrokerError
try:
    asyncio.run(address.source("amqp://mq.example?queue=q").open())
except BrokerError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "RabbitMQ needs aio-pika, which is not installed: run pip install 'warren[rabbitmq]'\n"
