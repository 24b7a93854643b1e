from __future__ import annotations

import reactivex

from warren.connectors import files, memory, observable, rabbitmq, sqlite
from warren.core.graph import Outlet
from warren.core.place import Place, place_of

BROKER = rabbitmq.Broker("amqp://app:hunter2@one.example,[::1]:5673/shop")


def test_ends_say_where_they_are() -> None:
    assert place_of(memory.queue("orders")) == Place("orders", "memory")
    assert place_of(memory.items([])) == Place(None, "memory")
    assert place_of(memory.into([])) == Place(None, "memory")
    assert place_of(observable.source(reactivex.never())) == Place(None, "observable")
    assert place_of(sqlite.queue("shop.db", "orders")) == Place("orders", "sqlite", ("shop.db",))
    assert place_of(files.jsonl("in/*.jsonl")) == Place("in/*.jsonl", "file", ("localhost",))


def test_rabbitmq_says_its_servers_and_never_who_logs_in() -> None:
    queue = place_of(rabbitmq.queue("orders", broker=BROKER))
    assert (queue.address, queue.protocol, queue.path) == ("orders", "amqp", "shop")
    assert queue.hosts == ("one.example:5672", "[::1]:5673")
    assert "hunter2" not in repr(queue) and "app" not in repr(queue)
    assert place_of(rabbitmq.stream("log", broker=BROKER)).channel["queue"]["name"] == "log"


def test_an_exchange_is_addressed_by_its_routing_key() -> None:
    assert place_of(rabbitmq.exchange("billing", broker=BROKER, routing_key="eu")).address == "eu"
    assert place_of(rabbitmq.exchange("billing", broker=BROKER, routing_key=str)).address is None
    partition = place_of(rabbitmq.partition("parts", n=2, broker=BROKER))
    assert (partition.address, partition.channel["exchange"]["name"]) == (None, "parts")
    transient = place_of(rabbitmq.queue("fast", broker=BROKER, kind="classic", persistent=False))
    assert transient.operation["deliveryMode"] == 1


def test_an_end_of_another_package_is_told_by_its_name() -> None:
    class Ears(Outlet[str]):
        @property
        def name(self) -> str:
            return "crowd:ears"

    class Nowhere(Outlet[str]):
        pass

    assert place_of(Ears()) == Place("ears", "crowd")
    assert place_of(Nowhere()) == Place(None, "nowhere")
