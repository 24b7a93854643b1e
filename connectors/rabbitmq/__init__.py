"""RabbitMQ queues, exchanges and streams as sources and sinks.

aio-pika connects; the fast lane reads and writes the messages. Install it with ``pip install 'warren[rabbitmq]'``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, overload

from warren.connectors.rabbitmq.broker import Broker
from warren.connectors.rabbitmq.health import health
from warren.connectors.rabbitmq.queue import Exchange, Queue
from warren.connectors.rabbitmq.queues import delete
from warren.connectors.rabbitmq.tls import TLS
from warren.connectors.rabbitmq.topology import Binding, QueueKind

__all__ = ["TLS", "Binding", "Broker", "Exchange", "Queue", "delete", "exchange", "health", "queue"]

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
