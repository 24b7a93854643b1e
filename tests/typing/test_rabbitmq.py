"""Streams and partitions, like queues, have the type that they are given."""

from typing import Any, assert_type

import msgspec

from warren.connectors import rabbitmq
from warren.connectors.rabbitmq import Partition, Queue, Stream
from warren.core.graph import Flow, Source
from warren.operators import map


class Order(msgspec.Struct):
    id: str


def key(order: Order) -> str:
    return order.id


def number(order: Order) -> int:
    return len(order.id)


assert_type(rabbitmq.queue("q", Order), Queue[Order])
assert_type(rabbitmq.stream("s"), Stream[Any])
assert_type(rabbitmq.stream("s", Order, key=key), Stream[Order])
assert_type(rabbitmq.stream("s", Order, start="last") | map(number), Source[int])
assert_type(rabbitmq.stream("s", Order, offsets="s.db") | map(number) | rabbitmq.queue("numbers", int), Flow)
assert_type(rabbitmq.partition("p", Order, n=4, by=key), Partition[Order])
assert_type(rabbitmq.partition("p", Order, n=4) | map(number) | rabbitmq.stream("numbers", int), Flow)
