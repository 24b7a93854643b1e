"""Alerts that reach a web hook, a mailbox and queues, all of them real."""

from __future__ import annotations

import asyncio
import json
import logging
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from tests.analytics.test_sending import Box, hook, post_office
from warren import Pipeline
from warren.analytics.alerts import Alert, Alerts, To
from warren.analytics.remedies import beyond
from warren.connectors import memory, sqlite
from warren.connectors.address import source
from warren.core.errors import AddressError
from warren.operators import map


def run(to: list[Any], **options: Any) -> Alerts:
    """A pipeline whose trouble lasts for ten seconds of virtual time."""

    def check(value: int) -> int:
        if 100 <= value < 200:
            raise ValueError("the password is hunter2")
        return value

    dead = Alert("Dead", beyond("dead_share", above=0.5), labels={"severity": "page"}, say="See https://wiki/dead")
    alerts = Alerts([dead], to=to, every="1s", **options)
    flow = memory.queue("in") | map(check) | memory.queue("out")
    trial = Pipeline("orders", flow, observers=[alerts]).test(range(300), at=[n / 10 for n in range(300)], start=1.7e9)
    assert len(trial.values) == 200
    return alerts


def checked(told: list[dict[str, Any]]) -> None:
    """What was told in one or several parts, as the thread that tells took its time: the newest of the incident last."""
    [incident] = {each["started"]: each for one in told for each in one["alerts"]}.values()
    assert {one["pipeline"] for one in told} == {"orders"} and told[-1]["status"] == "resolved"
    assert told[-1]["text"] == "[RESOLVED] orders: Dead" and told[-1]["group"] == {"pipeline": "orders"}
    assert (incident["alert"], incident["status"], incident["say"]) == ("Dead", "resolved", "See https://wiki/dead")
    assert incident["labels"] == {"pipeline": "orders", "severity": "page", "alert": "Dead"}
    assert incident["reason"] == "dead_share is 1, above 0.5"
    assert incident["started"].startswith("2023-11-14T22:13:3") and incident["ended"].startswith("2023-11-14T22:13:4")


def test_a_web_hook_gets_json() -> None:
    with hook(200) as server:
        run([server.address])
    checked([json.loads(body) for _, _, _, body in server.requests])


def test_people_get_mail() -> None:
    box = Box()
    with post_office(box) as port:
        environment = {
            "WARREN_SMTP": f"127.0.0.1:{port}",
            "WARREN_MAIL_FROM": "warren@example.org",
            "OPS": "ops@example.org",
        }
        run([To("mailto:${OPS}", environment=environment)])
    messages: list[Any] = [message_from_bytes(bytes(each.content), policy=policy.default) for each in box.mail]
    *_, last = messages
    assert last["Subject"] == "[RESOLVED] orders: Dead" and last["To"] == "ops@example.org"
    body = last.get_content()
    assert "Dead (resolved, from 2023-11-14T22:13:3" in body and "See https://wiki/dead" in body
    assert "dead_share is 1, above 0.5" in body


async def read(address: str) -> list[tuple[str, dict[str, Any]]]:
    """What waits in a queue."""
    connection = await source(address).open(until_empty=True)
    found = []
    while (batch := await connection.receive(100)) is not None:
        for number, body in enumerate(batch.bodies):
            assert batch.metadata(number).content_type == "application/json"
            found.append((batch.metadata(number).id, json.loads(body)))
        await connection.acknowledge(batch.handles)
    await connection.close()
    return found


@pytest.mark.parametrize("by", ["address", "sink"])
def test_a_queue_in_a_file_gets_messages(tmp_path: Path, by: str) -> None:
    address = f"sqlite://{tmp_path}/alerts.db?queue=alerts"
    run([address if by == "address" else sqlite.queue(tmp_path / "alerts.db", "alerts")])
    found = asyncio.run(read(address))
    checked([told for _, told in found])
    assert len({id for id, _ in found}) == len(found)


def test_a_queue_in_memory_gets_messages() -> None:
    run([memory.queue("alerts")])
    checked([told for _, told in asyncio.run(read("memory:alerts"))])


def test_a_queue_of_rabbitmq_gets_messages(vhost: str) -> None:
    run([f"{vhost}?queue=alerts"])
    checked([told for _, told in asyncio.run(read(f"{vhost}?queue=alerts"))])


def test_nothing_is_lost_while_a_web_hook_is_down(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "alerts.json"
    with hook(200) as gone:
        address = gone.address
    assert run([address], file=file).waiting == 1
    assert "is not told yet" in caplog.text and "wait in" in caplog.text
    # The same port answers again, with an error first.
    with hook(503, 200) as server:
        server_address = To(server.address).receiver.name
        file.write_bytes(file.read_bytes().replace(To(address).receiver.name.encode(), server_address.encode()))
        again = run([server.address], file=file, linger="10s")
        for _ in range(3):
            again._outbox.tell(all=True)
    bodies = [json.loads(body) for _, _, _, body in server.requests[1:]]
    assert {each["status"] for one in bodies for each in one["alerts"]} == {"resolved"} and again.waiting == 0


def test_neither_secrets_nor_payloads_are_in_logs_names_or_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = [
        "http://user:hunter2@127.0.0.1:9/hunter2?token=hunter2",
        "amqp://guest:hunter2@127.0.0.1:9/?queue=alerts",
        To("https://127.0.0.1:9/${TOKEN}", environment={"TOKEN": "hunter2"}),
        To("mailto:ops@example.org", environment={"WARREN_SMTP": "127.0.0.1:9", "WARREN_SMTP_PASSWORD": "hunter2"}),
    ]
    alerts = run(secrets, file=tmp_path / "alerts.json")
    assert alerts.waiting == 4 and caplog.text.count("is not told yet") == 4
    assert "hunter2" not in caplog.text + (tmp_path / "alerts.json").read_text() + repr(alerts.incidents)
    with pytest.raises(AddressError) as refused:
        To("fax://user:hunter2@host/")
    assert "hunter2" not in str(refused.value)
