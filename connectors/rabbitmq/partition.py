"""A queue in n partitions: order is kept within each key, and workers share the partitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from warren.connectors.rabbitmq.broker import Broker
from warren.connectors.rabbitmq.partitioned import PartitionSource
from warren.connectors.rabbitmq.plan import HASHES, Hash, Layout, slot
from warren.connectors.rabbitmq.queue import Queue, exchange_of
from warren.connectors.rabbitmq.receiver import Waiting
from warren.connectors.rabbitmq.sink import Publisher, RabbitSink
from warren.core.errors import GraphError
from warren.core.place import Place

__all__ = ["Partition"]

T = TypeVar("T")


class Partition(Queue[T]):
    """A queue in ``n`` partitions on a RabbitMQ broker: a source on the left of ``|``, a sink on its right.

    Messages with the same key go to the same partition, which is a quorum queue that one worker at a time reads. So they
    are read in the order in which one writer wrote them, however many workers run; workers share the partitions, hand over
    what is too much for one when another joins, and take over what one leaves behind.

    Delivery: at least once, as with `Queue`. Order: a worker that is killed or cut off repeats what it had not settled, so
    from the first message that comes again on, the order is that of the partition. A message that is retried, delayed or
    dead-lettered lets the ones behind it pass. Sources that run until empty leave a partition while they still work on its
    last messages, so run one worker of them where order matters.

    Raises `BrokerError` where the broker cannot be reached or refuses, and `TopologyError` where it lacks the plugin
    for the exchange, or something is there with other properties.
    """

    def __init__(
        self,
        partition: str,
        type: Any = None,
        *,
        n: int,
        by: Callable[[T], str] | None = None,
        broker: Broker | None = None,
        hash: Hash | None = None,
        passive: bool = False,
        persistent: bool = True,
        headers: Callable[[T], Mapping[str, str]] | None = None,
        max_deliveries: int | None = 20,
    ) -> None:
        if not (isinstance(n, int) and 1 <= n <= 1000):
            raise GraphError(f"rabbitmq.partition({partition!r}, n={n!r}): give the number of partitions, from 1 to 1000")
        if hash is not None and hash not in HASHES:
            raise GraphError(f"rabbitmq.partition({partition!r}, hash={hash!r}): there are {', '.join(map(repr, HASHES))}")
        super().__init__(
            partition,
            type,
            broker=broker,
            passive=passive,
            single_active=True,
            persistent=persistent,
            headers=headers,
            max_deliveries=max_deliveries,
        )
        self.by = by
        self.layout = Layout(partition, n, self.broker, hash, passive)

    def note(self, credit: int) -> str:
        """How many partitions, and how many messages of each the broker sends ahead."""
        taken = " taken as they are" if self.layout.passive else ""
        return f"{self.layout.partitions} quorum queues{taken}, prefetch {credit:,} each from the credit"

    def place(self) -> Place:
        """The exchange that leads to the partitions and its server, for documents."""
        return self.broker.place(None, exchange_of(self.layout.entry), self.persistent)

    def reader(self, until_empty: bool, credit: int | None) -> Waiting:
        """The half of a connection that receives."""
        return PartitionSource(self.layout, until_empty=until_empty, credit=credit)

    def writer(self) -> RabbitSink:
        """The half of a connection that writes."""
        publisher = _Spreader(self.layout)
        return RabbitSink(
            self.broker,
            self.layout.entry,
            persistent=self.persistent,
            key=self.by,
            headers=self.headers,
            routing=lambda values, keys: self._route(values, keys, publisher.hash == "slots"),
            publisher=publisher,
        )

    def _route(self, values: Sequence[Any], keys: Sequence[str | None] | None, slots: bool) -> str | Sequence[str]:
        if self.by is not None:
            chosen = [self.by(value) for value in values]
        elif keys is not None:
            chosen = [each or "" for each in keys]
        else:
            return slot("") if slots else ""
        return list(map(slot, chosen)) if slots else chosen


class _Spreader(Publisher):
    """Publishes to the exchange that leads to the partitions; they are there first."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout.broker, layout.entry)
        self.layout = layout
        self.hash: Hash | None = None

    async def declare(self) -> None:
        """See that the partitions are there, once for each connection."""
        while self._declared != self.link.reconnects:
            await self.link.session()
            self._declared = self.link.reconnects
            self.hash = (await self.layout.ensure(self.link)).hash
