"""What a client may ask of a channel, method by method, and the broker's answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pamqp.commands import Basic, Channel, Confirm, Exchange, Queue, Tx

from tests.brokers.model import wire
from tests.brokers.model.channel import ServerChannel
from tests.brokers.model.confirms import Confirms
from tests.brokers.model.topology import ChannelError, HardError

__all__ = ["METHODS"]

Handler = Callable[[ServerChannel, Any], None]
METHODS: dict[int, tuple[type[Any], Handler]] = {}


def handles(method: type[Any]) -> Callable[[Handler], Handler]:
    """Enter a handler for a method."""

    def enter(function: Handler) -> Handler:
        METHODS[method.index] = (method, function)
        return function

    return enter


def _done(channel: ServerChannel, asked: Any, answer: type[Any]) -> None:
    if not asked.nowait:
        channel.connection.write(wire.plain(channel.number, answer))


def _named(channel: ServerChannel, name: str | None) -> str:
    """A queue's name; an empty one stands for the queue that the channel declared last."""
    if not name and not channel.declared:
        raise ChannelError(404, "no previously declared queue")
    return name or channel.declared


@handles(Channel.Flow)
def _flow(channel: ServerChannel, asked: Channel.Flow) -> None:
    if not asked.active:
        raise HardError(540, "active=false")
    channel.send(Channel.FlowOk(active=True))


@handles(Exchange.Declare)
def _declare_exchange(channel: ServerChannel, asked: Exchange.Declare) -> None:
    if asked.passive:
        channel.vhost.exchange(asked.exchange)
    else:
        channel.vhost.declare_exchange(
            asked.exchange,
            asked.exchange_type,
            durable=asked.durable,
            auto_delete=asked.auto_delete,
            internal=asked.internal,
            arguments=asked.arguments or {},
        )
    _done(channel, asked, Exchange.DeclareOk)


@handles(Exchange.Delete)
def _delete_exchange(channel: ServerChannel, asked: Exchange.Delete) -> None:
    vhost, name = channel.vhost, asked.exchange
    if not name:
        raise ChannelError(403, "operation not permitted on the default exchange")
    if name.startswith("amq."):
        raise ChannelError(403, f"deletion of system {vhost.called('exchange', name)} not allowed")
    exchange = vhost.exchanges.get(name)
    if exchange is not None:
        if asked.if_unused and exchange.bindings:
            raise ChannelError(406, f"{vhost.called('exchange', name)} in use")
        vhost.delete_exchange(exchange)
    _done(channel, asked, Exchange.DeleteOk)


def _not_default(*names: str) -> None:
    if "" in names:
        raise ChannelError(403, "operation not permitted on the default exchange")


@handles(Exchange.Bind)
def _bind_exchange(channel: ServerChannel, asked: Exchange.Bind) -> None:
    _not_default(asked.source, asked.destination)
    channel.vhost.bind(asked.source, asked.routing_key, channel.vhost.exchange(asked.destination))
    _done(channel, asked, Exchange.BindOk)


@handles(Exchange.Unbind)
def _unbind_exchange(channel: ServerChannel, asked: Exchange.Unbind) -> None:
    _not_default(asked.source, asked.destination)
    channel.vhost.unbind(asked.source, asked.routing_key, channel.vhost.exchanges.get(asked.destination))
    _done(channel, asked, Exchange.UnbindOk)


@handles(Queue.Declare)
def _declare_queue(channel: ServerChannel, asked: Queue.Declare) -> None:
    connection, vhost = channel.connection, channel.vhost
    if asked.passive:
        queue = vhost.queue(asked.queue, connection)
    else:
        queue = vhost.declare_queue(
            asked.queue, asked.durable, asked.exclusive, asked.auto_delete, asked.arguments or {}, connection
        )
    channel.declared = queue.name
    if not asked.nowait:
        channel.send(Queue.DeclareOk(queue=queue.name, message_count=len(queue), consumer_count=len(queue.consumers)))


@handles(Queue.Bind)
def _bind_queue(channel: ServerChannel, asked: Queue.Bind) -> None:
    _not_default(asked.exchange)
    queue = channel.vhost.queue(_named(channel, asked.queue), channel.connection)
    channel.vhost.bind(asked.exchange, asked.routing_key, queue)
    _done(channel, asked, Queue.BindOk)


@handles(Queue.Unbind)
def _unbind_queue(channel: ServerChannel, asked: Queue.Unbind) -> None:
    _not_default(asked.exchange)
    channel.vhost.unbind(asked.exchange, asked.routing_key, channel.vhost.queues.get(_named(channel, asked.queue)))
    channel.connection.write(wire.plain(channel.number, Queue.UnbindOk))


@handles(Queue.Purge)
def _purge(channel: ServerChannel, asked: Queue.Purge) -> None:
    count = channel.vhost.queue(_named(channel, asked.queue), channel.connection).purge()
    if not asked.nowait:
        channel.send(Queue.PurgeOk(message_count=count))


@handles(Queue.Delete)
def _delete_queue(channel: ServerChannel, asked: Queue.Delete) -> None:
    vhost, name, count = channel.vhost, _named(channel, asked.queue), 0
    if name in vhost.queues:
        queue = vhost.queue(name, channel.connection)
        if queue.quorum and (asked.if_unused or asked.if_empty):
            what, wish = vhost.called("queue", name), "if-unused" if asked.if_unused else "if-empty"
            text = f"cannot delete {what}. queue.delete operations with {wish} flag set are not supported by quorum queues"
            raise HardError(540, text)
        if asked.if_unused and queue.consumers:
            raise ChannelError(406, f"{vhost.called('queue', name)} in use")
        if asked.if_empty and len(queue):
            raise ChannelError(406, f"{vhost.called('queue', name)} not empty")
        count = len(queue)
        vhost.delete_queue(queue)
    if not asked.nowait:
        channel.send(Queue.DeleteOk(message_count=count))


@handles(Basic.Qos)
def _qos(channel: ServerChannel, asked: Basic.Qos) -> None:
    if asked.prefetch_size:
        raise HardError(540, f"prefetch_size!=0 ({asked.prefetch_size})")
    if asked.global_:
        raise HardError(540, "the model has no limit for a whole channel")
    channel.prefetch = asked.prefetch_count
    channel.connection.write(wire.plain(channel.number, Basic.QosOk))


@handles(Basic.Consume)
def _consume(channel: ServerChannel, asked: Basic.Consume) -> None:
    queue = channel.vhost.queue(_named(channel, asked.queue), channel.connection)
    tag = asked.consumer_tag or channel.broker.invent("amq.ctag-")
    channel.consume(queue, tag, asked.no_ack, asked.exclusive)
    if not asked.nowait:
        channel.send(Basic.ConsumeOk(consumer_tag=tag))
    queue.pump()


@handles(Basic.Cancel)
def _cancel(channel: ServerChannel, asked: Basic.Cancel) -> None:
    channel.cancel(asked.consumer_tag)
    if not asked.nowait:
        channel.send(Basic.CancelOk(consumer_tag=asked.consumer_tag))


@handles(Basic.CancelOk)
def _cancel_ok(channel: ServerChannel, asked: Basic.CancelOk) -> None:
    raise HardError(503, "unimplemented method")


@handles(Basic.Get)
def _get(channel: ServerChannel, asked: Basic.Get) -> None:
    queue = channel.vhost.queue(_named(channel, asked.queue), channel.connection)
    channel.get(queue, asked.no_ack)


@handles(Basic.Recover)
def _recover(channel: ServerChannel, asked: Basic.Recover) -> None:
    if not asked.requeue:
        raise HardError(540, "requeue=false")
    channel.connection.write(wire.plain(channel.number, Basic.RecoverOk))
    channel.recover()


@handles(Confirm.Select)
def _confirm(channel: ServerChannel, asked: Confirm.Select) -> None:
    if channel.confirms is None:
        channel.confirms = Confirms(channel)
    _done(channel, asked, Confirm.SelectOk)


@handles(Tx.Select)
def _transactions(channel: ServerChannel, asked: Tx.Select) -> None:
    raise HardError(540, "the model has no transactions")
