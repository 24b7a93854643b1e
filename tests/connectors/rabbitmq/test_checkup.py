"""A check-up of brokers that are well, and of those that are not."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.brokers.rabbitmq import Node
from tests.connectors.rabbitmq.hands import Foreign, broker, eventually, run
from warren.connectors.rabbitmq import TLS, checkup, management
from warren.connectors.rabbitmq.admin import BrokerAdmin
from warren.connectors.rabbitmq.expiry import expiry, expiry_of_file
from warren.core.checkup import Finding


def look(url: str, queue: str = "", **options: Any) -> list[Finding]:
    async def main() -> list[Finding]:
        return [finding async for finding in BrokerAdmin(broker(url, **options)).checkup(queue)]

    found = run(main)
    assert all(each.remedy for each in found if each.state != "ok"), "each says what to do"
    return found


def states(found: list[Finding]) -> dict[str, str]:
    return {each.what: each.state for each in found}


def asking(node: Node) -> str:
    return f"http://127.0.0.1:{node.management_port}"


def test_a_broker_that_is_well(rabbitmq_each: Node) -> None:
    with rabbitmq_each.vhost() as url:
        found = states(look(url, management=asking(rabbitmq_each)))
        old = rabbitmq_each.version.startswith("3.")
        assert found.pop("limits") in ("ok", "unknown"), "it tells its numbers some seconds after its start"
        assert found == {
            "broker": "ok",
            "version": "warning" if old else "ok",
            "connection": "ok",
            "permissions": "ok",
            "latency": "ok",
            "clock": "ok",
        }
        assert states(look(url))["limits"] == "unknown"


def test_permissions_that_are_missing_are_named(rabbitmq_43: Node) -> None:
    url = rabbitmq_43.add_user("modest", "secret", configure=".*", write="^$", read=".*")
    (problem,) = [each for each in look(url) if each.state == "problem"]
    assert problem.what == "permissions" and "may not write" in problem.said
    assert problem.remedy == "rabbitmqctl set_permissions -p / modest '.*' '.*' '.*'"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("amqp://guest@localhost:1/", "cannot be reached"),
        ("amqp://guest:wrong@localhost:{port}/", "refused user 'guest'"),
        ("amqp://guest:guest@localhost:{port}/nowhere", "nowhere"),
    ],
)
def test_a_broker_that_is_not_reached(rabbitmq_43: Node, url: str, said: str) -> None:
    found = look(url.format(port=rabbitmq_43.amqp_port), queue="orders")
    assert states(found)["broker"] == "problem" and said in found[0].said
    assert "queue" not in states(found)


def test_one_of_two_addresses_is_enough_to_look_further(rabbitmq_43: Node) -> None:
    found = look(f"amqp://guest:guest@localhost:1,localhost:{rabbitmq_43.amqp_port}/", queue="none")
    assert [each.state for each in found if each.what == "broker"] == ["problem", "ok"]
    assert states(found)["permissions"] == "ok" and states(found)["queue"] == "problem"


def test_an_alarm_is_seen_over_amqp_and_over_the_api(start_node: Callable[..., Node]) -> None:
    node = start_node("4.3", plugins=("rabbitmq_management",))
    node.ctl("set_vm_memory_high_watermark", "absolute", "1MB")

    async def alarmed() -> bool:
        found = [finding async for finding in BrokerAdmin(broker(node.url, management=asking(node))).checkup()]
        return [each.said for each in found if each.what == "alarm"] == [
            "the broker takes no messages: low on memory",
            f"{node.name} is short of memory and takes no messages",
        ]

    run(lambda: eventually(alarmed))


def test_what_a_queue_drops_is_told(rabbitmq_43: Node) -> None:
    arguments = {"x-queue-type": "classic", "x-max-length": 10, "x-message-ttl": 5000}

    async def fill(url: str) -> None:
        async with Foreign.at(url) as other:
            await other.declare("in", arguments)
            await other.send("in", b"1")

    with rabbitmq_43.vhost() as url:
        run(lambda: fill(url))
        said = [each.said for each in look(url, "in", management=asking(rabbitmq_43)) if each.state == "warning"]
        assert said == [
            "1 message waits in 'in', and nobody reads it",
            "'in' drops its oldest messages beyond max-length 10",
            "'in' drops what waits longer than 5 s",
        ]


def test_clocks_that_differ_are_told(rabbitmq_43: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    for ahead, state in [(-10.0, "warning"), (600.0, "problem")]:
        monkeypatch.setattr(management, "time", SimpleNamespace(time=lambda ahead=ahead: time.time() - ahead))
        (clock,) = [each for each in look(rabbitmq_43.url, management=asking(rabbitmq_43)) if each.what == "clock"]
        assert clock.state == state
        (off,) = map(int, re.findall(r"is (\d+) s " + ("ahead" if ahead > 0 else "behind"), clock.said))
        assert abs(off - abs(ahead)) <= 2, "the broker tells whole seconds"


def test_certificates_tell_their_end(rabbitmq_tls: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rabbitmq_tls.tls is not None
    own = rabbitmq_tls.tls.client()
    for check in (True, False):
        tls = TLS(ca=rabbitmq_tls.tls.ca, certificate=own.certificate, key=own.key, check=check)
        said = [each for each in look(rabbitmq_tls.tls_url.replace("127.0.0.1", "localhost"), tls=tls) if each.what == "TLS"]
        assert [each.state for each in said] == ["warning"] * (2 if check else 3), "those of tests are valid for days"
        assert "is valid for" in said[0].said and str(own.certificate) in said[-1].said
    context = ssl.create_default_context(cafile=rabbitmq_tls.tls.ca)
    (authority,) = context.get_ca_certs()
    assert expiry_of_file(Path(rabbitmq_tls.tls.ca)) == ssl.cert_time_to_seconds(str(authority["notAfter"]))
    monkeypatch.setattr(checkup, "time", SimpleNamespace(time=lambda: time.time() + 1e9, perf_counter=time.perf_counter))
    assert {each.state for each in look(rabbitmq_tls.tls_url, tls=tls) if "ended" in each.said} == {"problem"}


def test_the_end_of_every_certificate_that_this_machine_trusts_is_read_right() -> None:
    context = ssl.create_default_context()
    context.load_default_certs()
    known = zip(context.get_ca_certs(), context.get_ca_certs(binary_form=True), strict=True)
    for told, data in known:
        assert expiry(data) == ssl.cert_time_to_seconds(str(told["notAfter"]))
    for broken in (b"", b"\x30\x82", b"no certificate at all"):
        with pytest.raises(ValueError, match="no certificate"):
            expiry(broken)
