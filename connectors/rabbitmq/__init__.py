"""RabbitMQ queues, exchanges, streams and partitions as sources and sinks.

aio-pika connects; the fast lane reads and writes the messages. Install it with ``pip install 'warren[rabbitmq]'``.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, overload

from warren.connectors.rabbitmq.broker import Broker
from warren.connectors.rabbitmq.health import health
from warren.connectors.rabbitmq.partition import Partition
from warren.connectors.rabbitmq.plan import Hash
from warren.connectors.rabbitmq.queue import Exchange, Queue
from warren.connectors.rabbitmq.queues import delete
from warren.connectors.rabbitmq.repartition import repartition
from warren.connectors.rabbitmq.replay import Replayed, replay
from warren.connectors.rabbitmq.stream import Stream
from warren.connectors.rabbitmq.streaming import Start
from warren.connectors.rabbitmq.tls import TLS
from warren.connectors.rabbitmq.topology import Binding, QueueKind
from warren.core.clock import Duration

__all__ = [
    "TLS",
    "Binding",
    "Broker",
    "Exchange",
    "Partition",
    "Queue",
    "Replayed",
    "Start",
    "Stream",
    "delete",
    "exchange",
    "health",
    "partition",
    "queue",
    "repartition",
    "replay",
    "stream",
]

T = TypeVar("T")


@overload
def queue(
    name: str,
    type: None = None,
    *,
    broker: Broker | None = None,
    kind: QueueKind = "quorum",
    passive: bool = False,
    bind: Sequence[Binding] = (),
    arguments: Mapping[str, Any] | None = None,
    single_active: bool = False,
    persistent: bool = True,
    key: Callable[[Any], str | None] | None = None,
    headers: Callable[[Any], Mapping[str, str]] | None = None,
    max_deliveries: int | None = 20,
    delayed_retry: tuple[Duration, Duration] | None = None,
    delayed_exchange: str | None = None,
) -> Queue[Any]: ...
@overload
def queue(
    name: str,
    type: type[T],
    *,
    broker: Broker | None = None,
    kind: QueueKind = "quorum",
    passive: bool = False,
    bind: Sequence[Binding] = (),
    arguments: Mapping[str, Any] | None = None,
    single_active: bool = False,
    persistent: bool = True,
    key: Callable[[T], str | None] | None = None,
    headers: Callable[[T], Mapping[str, str]] | None = None,
    max_deliveries: int | None = 20,
    delayed_retry: tuple[Duration, Duration] | None = None,
    delayed_exchange: str | None = None,
) -> Queue[T]: ...
@overload
def queue(
    name: str,
    type: Any,
    *,
    broker: Broker | None = None,
    kind: QueueKind = "quorum",
    passive: bool = False,
    bind: Sequence[Binding] = (),
    arguments: Mapping[str, Any] | None = None,
    single_active: bool = False,
    persistent: bool = True,
    key: Callable[[Any], str | None] | None = None,
    headers: Callable[[Any], Mapping[str, str]] | None = None,
    max_deliveries: int | None = 20,
    delayed_retry: tuple[Duration, Duration] | None = None,
    delayed_exchange: str | None = None,
) -> Queue[Any]: ...
def queue(
    name: str,
    type: Any = None,
    *,
    broker: Broker | None = None,
    kind: QueueKind = "quorum",
    passive: bool = False,
    bind: Sequence[Binding] = (),
    arguments: Mapping[str, Any] | None = None,
    single_active: bool = False,
    persistent: bool = True,
    key: Callable[[Any], str | None] | None = None,
    headers: Callable[[Any], Mapping[str, str]] | None = None,
    max_deliveries: int | None = 20,
    delayed_retry: tuple[Duration, Duration] | None = None,
    delayed_exchange: str | None = None,
) -> Queue[Any]:
    """A queue on a RabbitMQ broker; a source and a sink in one. See `Queue` for what it guarantees.

    - ``type``: what bodies are decoded to when it is read; without one they stay bytes
    - ``broker``: where it is; the environment variable ``WARREN_AMQP_URL``, or ``localhost``, unless given
    - ``kind``: ``"quorum"`` (replicated), ``"classic"`` or ``"stream"``
    - ``passive``: take the queue as it is, and fail where there is none; otherwise it is declared
    - ``bind``: what it gets from exchanges, see `Binding`
    - ``arguments``: more of the queue's arguments, such as ``{"x-max-length": 10_000}``
    - ``single_active``: one consumer gets everything, the others stand by
    - ``persistent``: whether a classic queue writes what is sent to it to the disk
    - ``key``, ``headers``: compute from a value what is written beside it, where its metadata does not say
    - ``max_deliveries``: after so many deliveries that were never settled, the pipeline dead-letters a message
    - ``delayed_retry``: have the quorum queue itself delay what failed (RabbitMQ 4.3): after the first failure as long as
      the first duration, then twice, three times as long, and at most the second; what the retry policy says is not asked
    - ``delayed_exchange``: have an exchange of the delayed-message plugin keep what waits, instead of delay queues

    >>> queue("orders", dict, broker=Broker("amqp://mq.example"))
    rabbitmq:orders
    """
    return Queue(
        name,
        type,
        broker=broker,
        kind=kind,
        passive=passive,
        bind=bind,
        arguments=arguments,
        single_active=single_active,
        persistent=persistent,
        key=key,
        headers=headers,
        max_deliveries=max_deliveries,
        delayed_retry=delayed_retry,
        delayed_exchange=delayed_exchange,
    )


def exchange(
    name: str,
    *,
    broker: Broker | None = None,
    kind: str = "topic",
    passive: bool = False,
    arguments: Mapping[str, Any] | None = None,
    routing_key: str | Callable[[Any], str] | None = None,
    persistent: bool = True,
    key: Callable[[Any], str | None] | None = None,
    headers: Callable[[Any], Mapping[str, str]] | None = None,
) -> Exchange[Any]:
    """An exchange on a RabbitMQ broker, as a sink. See `Exchange` for what it guarantees.

    ``routing_key`` is one for all, or computed from the value; without it the message's key. The other parameters are
    those of `queue`.

    >>> exchange("billing", broker=Broker("amqp://mq.example"), routing_key=lambda bill: bill["region"])
    rabbitmq:billing
    """
    return Exchange(
        name,
        broker=broker,
        kind=kind,
        passive=passive,
        arguments=arguments,
        routing_key=routing_key,
        persistent=persistent,
        key=key,
        headers=headers,
    )


@overload
def stream(
    name: str,
    type: None = None,
    *,
    broker: Broker | None = None,
    start: Start = "first",
    offsets: str | os.PathLike[str] | None = None,
    consumer: str = "warren",
    passive: bool = False,
    arguments: Mapping[str, Any] | None = None,
    key: Callable[[Any], str | None] | None = None,
    headers: Callable[[Any], Mapping[str, str]] | None = None,
    max_deliveries: int | None = 20,
) -> Stream[Any]: ...
@overload
def stream(
    name: str,
    type: type[T],
    *,
    broker: Broker | None = None,
    start: Start = "first",
    offsets: str | os.PathLike[str] | None = None,
    consumer: str = "warren",
    passive: bool = False,
    arguments: Mapping[str, Any] | None = None,
    key: Callable[[T], str | None] | None = None,
    headers: Callable[[T], Mapping[str, str]] | None = None,
    max_deliveries: int | None = 20,
) -> Stream[T]: ...
@overload
def stream(
    name: str,
    type: Any,
    *,
    broker: Broker | None = None,
    start: Start = "first",
    offsets: str | os.PathLike[str] | None = None,
    consumer: str = "warren",
    passive: bool = False,
    arguments: Mapping[str, Any] | None = None,
    key: Callable[[Any], str | None] | None = None,
    headers: Callable[[Any], Mapping[str, str]] | None = None,
    max_deliveries: int | None = 20,
) -> Stream[Any]: ...
def stream(
    name: str,
    type: Any = None,
    *,
    broker: Broker | None = None,
    start: Start = "first",
    offsets: str | os.PathLike[str] | None = None,
    consumer: str = "warren",
    passive: bool = False,
    arguments: Mapping[str, Any] | None = None,
    key: Callable[[Any], str | None] | None = None,
    headers: Callable[[Any], Mapping[str, str]] | None = None,
    max_deliveries: int | None = 20,
) -> Stream[Any]:
    """A stream on a RabbitMQ broker; a source and a sink in one. See `Stream` for what it guarantees.

    - ``type``: what bodies are decoded to when it is read; without one they stay bytes
    - ``broker``: where it is; the environment variable ``WARREN_AMQP_URL``, or ``localhost``, unless given
    - ``start``: where reading begins the first time: with the ``"first"`` message that is there, with the ``"last"`` one,
      with the ``"next"`` that will come, at an offset, or at a time. A time begins with what the broker wrote together
      then, so some messages before it may come
    - ``offsets``: a file that keeps how far the reader is, so that a restart goes on there. Without one that is known only
      as long as the source is open, and ``start`` decides each time
    - ``consumer``: the reader's name in that file, which several readers can share; each has its own position
    - ``passive``: take the stream as it is, and fail where there is none; otherwise it is declared
    - ``arguments``: what it keeps, such as ``{"x-max-age": "7D", "x-max-length-bytes": 20_000_000_000}``, and in files of
      which size, ``{"x-stream-max-segment-size-bytes": 100_000_000}``; the broker removes whole files
    - ``key``, ``headers``: compute from a value what is written beside it, where its metadata does not say
    - ``max_deliveries``: after so many deliveries that were never settled, the pipeline dead-letters a message; those of
      earlier runs count where there is a file

    >>> stream("orders", dict, broker=Broker("amqp://mq.example"), offsets="orders.offsets.db", consumer="billing")
    rabbitmq:orders
    """
    return Stream(
        name,
        type,
        broker=broker,
        start=start,
        offsets=offsets,
        consumer=consumer,
        passive=passive,
        arguments=arguments,
        key=key,
        headers=headers,
        max_deliveries=max_deliveries,
    )


@overload
def partition(
    name: str,
    type: None = None,
    *,
    n: int,
    by: Callable[[Any], str] | None = None,
    broker: Broker | None = None,
    hash: Hash | None = None,
    passive: bool = False,
    persistent: bool = True,
    headers: Callable[[Any], Mapping[str, str]] | None = None,
    max_deliveries: int | None = 20,
) -> Partition[Any]: ...
@overload
def partition(
    name: str,
    type: type[T],
    *,
    n: int,
    by: Callable[[T], str] | None = None,
    broker: Broker | None = None,
    hash: Hash | None = None,
    passive: bool = False,
    persistent: bool = True,
    headers: Callable[[T], Mapping[str, str]] | None = None,
    max_deliveries: int | None = 20,
) -> Partition[T]: ...
@overload
def partition(
    name: str,
    type: Any,
    *,
    n: int,
    by: Callable[[Any], str] | None = None,
    broker: Broker | None = None,
    hash: Hash | None = None,
    passive: bool = False,
    persistent: bool = True,
    headers: Callable[[Any], Mapping[str, str]] | None = None,
    max_deliveries: int | None = 20,
) -> Partition[Any]: ...
def partition(
    name: str,
    type: Any = None,
    *,
    n: int,
    by: Callable[[Any], str] | None = None,
    broker: Broker | None = None,
    hash: Hash | None = None,
    passive: bool = False,
    persistent: bool = True,
    headers: Callable[[Any], Mapping[str, str]] | None = None,
    max_deliveries: int | None = 20,
) -> Partition[Any]:
    """A queue in ``n`` partitions on a RabbitMQ broker; a source and a sink in one. See `Partition` for what it guarantees.

    - ``type``: what bodies are decoded to when it is read; without one they stay bytes
    - ``n``: how many partitions there are when they are made; later `repartition` changes it, and this is passed by
    - ``by``: computes from a value the key that decides its partition; without one it is the key in the metadata
    - ``broker``: where it is; the environment variable ``WARREN_AMQP_URL``, or ``localhost``, unless given
    - ``hash``: how keys are spread, decided when the partitions are made: ``"modulus"``, which RabbitMQ 4.3 has and older
      ones with the plugin rabbitmq_sharding; ``"slots"``, where the writer hashes; or ``"consistent"``, which needs the
      plugin rabbitmq_consistent_hash_exchange. Unless given: modulus on 4.3, slots before
    - ``passive``: take everything as it is, and fail where it is missing; otherwise it is declared
    - ``persistent``, ``headers``, ``max_deliveries``: as for `queue`

    >>> partition("orders", dict, n=8, by=lambda order: order["customer"], broker=Broker("amqp://mq.example"))
    rabbitmq:orders
    """
    return Partition(
        name,
        type,
        n=n,
        by=by,
        broker=broker,
        hash=hash,
        passive=passive,
        persistent=persistent,
        headers=headers,
        max_deliveries=max_deliveries,
    )
