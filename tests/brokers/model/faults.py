"""The faults there are: what each does to a broker, and for how long at most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from tests.brokers.model.broker import ModelBroker
    from tests.brokers.model.connection import ServerConnection
    from tests.brokers.model.schedule import Fault

__all__ = ["FAULTS", "Kind"]

T = TypeVar("T")
Strike = Callable[["ModelBroker", "Fault"], bool]


@dataclass(frozen=True)
class Kind:
    """One kind of fault."""

    strike: Strike
    """Does it, and says whether it hit anything."""
    lasts: tuple[float, float]
    """The shortest and the longest time until it is over."""


FAULTS: dict[str, Kind] = {}


def fault(shortest: float = 0.0, longest: float = 0.0) -> Callable[[Strike], None]:
    """Enter a fault under its function's name."""

    def enter(strike: Strike) -> None:
        FAULTS[strike.__name__] = Kind(strike, (shortest, longest))

    return enter


def _one(things: Sequence[T], fault: Fault) -> T | None:
    return things[int(fault.chance * len(things))] if things else None


def _connection(broker: ModelBroker, fault: Fault) -> ServerConnection | None:
    return _one(list(broker.connections.values()), fault)


def _later(broker: ModelBroker, fault: Fault, then: Callable[[], object]) -> None:
    broker.loop.call_later(fault.lasts, then)


def _down(broker: ModelBroker, fault: Fault, how: Callable[[], object]) -> bool:
    if not broker.up:
        return False
    how()
    _later(broker, fault, broker.start)
    return True


@fault()
def reset_by_broker(broker: ModelBroker, fault: Fault) -> bool:
    """The broker's side drops a connection."""
    if connection := _connection(broker, fault):
        connection.reset()
    return connection is not None


@fault()
def hung_up(broker: ModelBroker, fault: Fault) -> bool:
    """A connection ends between two bytes, as by a proxy that restarts."""
    if connection := _connection(broker, fault):
        connection.hang_up()
    return connection is not None


@fault(0.0, 2.0)
def client_cut_off(broker: ModelBroker, fault: Fault) -> bool:
    """The client's side breaks; the broker notices later, and holds what was unsettled until then."""
    if connection := _connection(broker, fault):
        broker.reset(connection, broker_lag=fault.lasts)
    return connection is not None


@fault(0.0, 2.0)
def broker_cut_off(broker: ModelBroker, fault: Fault) -> bool:
    """The broker's side breaks; the client notices later, and writes into nowhere until then."""
    if connection := _connection(broker, fault):
        broker.reset(connection, client_lag=fault.lasts)
    return connection is not None


@fault(0.01, 4.0)
def stalled(broker: ModelBroker, fault: Fault) -> bool:
    """Nothing gets through one connection, one way or both."""
    if connection := _connection(broker, fault):
        way = int(fault.chance * 997) % 3
        broker.stall(connection, fault.lasts, to_client=way != 1, to_broker=way != 2)
    return connection is not None


@fault(0.05, 3.0)
def crashed(broker: ModelBroker, fault: Fault) -> bool:
    """The broker dies as by ``kill -9`` and is started again."""
    return _down(broker, fault, broker.crash)


@fault(0.05, 3.0)
def lost_power(broker: ModelBroker, fault: Fault) -> bool:
    """The broker's machine dies without a word, and is started again."""
    return _down(broker, fault, lambda: broker.crash(silent=True))


@fault(0.05, 3.0)
def restarted(broker: ModelBroker, fault: Fault) -> bool:
    """The broker is restarted in an orderly way."""
    return _down(broker, fault, broker.stop)


@fault()
def channel_closed(broker: ModelBroker, fault: Fault) -> bool:
    """A channel is closed because of a delivery that was held for too long."""
    channels = [
        channel
        for connection in broker.connections.values()
        if connection.running
        for channel in connection.channels.values()
        if not channel.closing
    ]
    if channel := _one(channels, fault):
        broker.close_channel(channel)
    return channel is not None


@fault()
def consumer_cancelled(broker: ModelBroker, fault: Fault) -> bool:
    """A consumer is cancelled; its queue stays."""
    if consumer := _one(broker.consumers(), fault):
        broker.cancel(consumer)
    return consumer is not None


@fault()
def delivered_again(broker: ModelBroker, fault: Fault) -> bool:
    """What a consumer holds comes again."""
    if consumer := _one(broker.consumers(), fault):
        broker.deliver_again(consumer)
    return consumer is not None


@fault(0.05, 2.0)
def publishes_refused(broker: ModelBroker, fault: Fault) -> bool:
    """Some publishes are refused for a while, as when a queue looks for a new leader."""
    broker.schedule.refusing = 0.1 + 0.9 * fault.chance
    _later(broker, fault, lambda: setattr(broker.schedule, "refusing", 0.0))
    return True


@fault(0.1, 3.0)
def confirms_slow(broker: ModelBroker, fault: Fault) -> bool:
    """Confirms are late for a while."""
    broker.schedule.slowness = 3.0 * fault.chance**2
    _later(broker, fault, lambda: setattr(broker.schedule, "slowness", 0.0))
    return True


@fault(0.05, 4.0)
def blocked(broker: ModelBroker, fault: Fault) -> bool:
    """A memory alarm: who publishes is blocked for a while."""
    broker.block()
    _later(broker, fault, broker.unblock)
    return True
