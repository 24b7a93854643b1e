"""The model answers as RabbitMQ 3.10 does: each script is played on both, and what was seen has to be equal."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.brokers.model import ModelBroker, Schedule, play, scripts
from tests.brokers.model.scripts.surviving import after_a_crash, before_a_crash, under_an_alarm
from tests.brokers.rabbitmq import Node

for module in pkgutil.iter_modules(scripts.__path__):
    importlib.import_module(f"{scripts.__name__}.{module.name}")

VHOST = "model"


def on_model(*acts: Callable[..., Any], between: Callable[[ModelBroker], None] = lambda _: None) -> list[scripts.Seen]:
    async def main(broker: ModelBroker) -> list[scripts.Seen]:
        broker.add_vhost(VHOST)
        notes: list[scripts.Seen] = []
        for act in acts:
            notes += await scripts.perform(act, broker.host, broker.port, VHOST)
            between(broker)
        return notes

    return play(main)


@pytest.mark.parametrize("name", scripts.SCRIPTS)
def test_the_model_answers_as_rabbitmq_does(name: str, rabbitmq_310: Node) -> None:
    act = scripts.SCRIPTS[name]
    with rabbitmq_310.vhost() as url:
        vhost = unquote(urlsplit(url).path[1:])
        real = asyncio.run(scripts.perform(act, "127.0.0.1", rabbitmq_310.amqp_port, vhost))
    assert on_model(act) == real


@pytest.mark.parametrize("name", scripts.SCRIPTS)
def test_the_answers_do_not_depend_on_the_network(name: str) -> None:
    for seed in range(8):
        schedule = Schedule(seed, kinds=())
        schedule.confirm_delay = 0.0
        schedule.joined = True

        async def main(broker: ModelBroker) -> list[scripts.Seen]:
            broker.add_vhost(VHOST)
            return await scripts.perform(scripts.SCRIPTS[name], broker.host, broker.port, VHOST)

        assert play(main, schedule) == on_model(scripts.SCRIPTS[name])


@pytest.mark.slow
def test_the_same_survives_a_crash(start_node: Callable[..., Node]) -> None:
    node = start_node("3.10")
    real = asyncio.run(scripts.perform(before_a_crash, "127.0.0.1", node.amqp_port, "/"))
    # A quorum queue that is not yet half a second old is not known any more after a kill: its name is written down late.
    node.eval("[ok = dets:sync(Table) || Table <- dets:all()].")
    node.kill()
    node.start()
    real += asyncio.run(scripts.perform(after_a_crash, "127.0.0.1", node.amqp_port, "/"))

    def crash(broker: ModelBroker) -> None:
        broker.crash()
        broker.start()

    assert on_model(before_a_crash, after_a_crash, between=crash) == real


@pytest.mark.slow
def test_an_alarm_blocks_the_same(start_node: Callable[..., Node]) -> None:
    node = start_node("3.10", plugins=["rabbitmq_management"])

    async def real(scene: scripts.Scene) -> None:
        await under_an_alarm(scene, node.alarm)

    seen = asyncio.run(scripts.perform(real, "127.0.0.1", node.amqp_port, "/"))

    async def main(broker: ModelBroker) -> list[scripts.Seen]:
        async def act(scene: scripts.Scene) -> None:
            await under_an_alarm(scene, lambda on: broker.block() if on else broker.unblock())

        return await scripts.perform(act, broker.host, broker.port, "/")

    assert play(main) == seen
