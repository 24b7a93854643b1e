"""From one queue to several, by plain functions and by policies that do the same or learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

from benchmarks.amqp.orders import REGIONS, Order, change
from warren import Pipeline
from warren.analytics.routing import EarliestFinish
from warren.connectors import rabbitmq
from warren.operators import map, route

__all__ = ["act", "act_kinds", "act_read", "plain", "plain_kinds", "plain_static", "shadow", "shadow_static"]


def size(order: Order) -> float:
    return order.amount + 1.0


def kind(order: Order) -> str:
    return order.region


def region(order: Order) -> int:
    return REGIONS.index(order.region)


def plain(url: str, source: str, targets: Sequence[str]) -> None:
    """Each target in turn, whatever comes."""
    turns = cycle(range(len(targets)))
    _run(url, source, targets, lambda order: next(turns))


def plain_kinds(url: str, source: str, targets: Sequence[str]) -> None:
    """The same, and the functions that a policy would call are called."""
    turns = cycle(range(len(targets)))

    def choose(order: Order) -> int:
        size(order), kind(order)
        return next(turns)

    _run(url, source, targets, choose)


def plain_static(url: str, source: str, targets: Sequence[str]) -> None:
    _run(url, source, targets, region)


def act(url: str, source: str, targets: Sequence[str]) -> None:
    _run(url, source, targets, EarliestFinish(mode="act"))


def act_read(url: str, source: str, targets: Sequence[str]) -> None:
    _run(url, source, targets, EarliestFinish(mode="act", ends="read"))


def act_kinds(url: str, source: str, targets: Sequence[str]) -> None:
    _run(url, source, targets, EarliestFinish(mode="act", size=size, kind=kind))


def shadow(url: str, source: str, targets: Sequence[str]) -> None:
    _run(url, source, targets, EarliestFinish())


def shadow_static(url: str, source: str, targets: Sequence[str]) -> None:
    _run(url, source, targets, EarliestFinish(static=region))


def _run(url: str, source: str, targets: Sequence[str], choose: Callable[[Any], Any]) -> None:
    broker = rabbitmq.Broker(url)
    queues = [rabbitmq.queue(name, broker=broker, kind="classic", persistent=False, passive=True) for name in targets]
    inlet = rabbitmq.queue(source, Order, broker=broker, kind="classic", passive=True)
    Pipeline("bench", inlet | map(change) | route(choose, dict(enumerate(queues)))).run(until_empty=True)
