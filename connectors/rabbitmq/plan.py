"""The plan of a partitioned queue: a small stream beside it says how many partitions there are, and how far a change is."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec

from warren.connectors.rabbitmq.broker import Broker
from warren.connectors.rabbitmq.link import Link
from warren.connectors.rabbitmq.stream import Stream
from warren.connectors.rabbitmq.topology import Binding, ExchangeDeclaration, QueueDeclaration, declare
from warren.core.errors import BrokerError, TopologyError
from warren.core.message import Batch, Outgoing

__all__ = ["HASHES", "Hash", "Layout", "Plan", "slot"]

Hash: TypeAlias = Literal["consistent", "modulus", "slots"]

HASHES: Mapping[Hash, str] = {"consistent": "x-consistent-hash", "modulus": "x-modulus-hash", "slots": "direct"}
"""The types of exchanges that spread messages; to the last one the writer says in which slot the key is."""
_HAS_MODULUS = (4, 3)
"""From which version on a broker has the modulus hash without a plugin."""
_SLOTS = 1024
_ANY = "1"
"""The binding key of a partition: a consistent-hash exchange takes it for the weight, which is the same for all."""


def slot(key: str) -> str:
    """The slot of a key, which is the same for every writer and for ever.

    >>> slot("a"), slot("b")
    ('579', '1017')
    """
    return str(zlib.crc32(key.encode()) % _SLOTS)


class Plan:
    """What the entries of the log say; the first word on a generation counts.

    >>> plan = Plan()
    >>> for entry in [{"generation": 1, "partitions": 2}, {"generation": 2, "partitions": 3}, {"done": [1, 0]}]:
    ...     plan.take(entry)
    >>> plan.latest, plan.current, plan.finished(1)
    (2, 1, False)
    >>> plan.take({"done": [1, 1]})
    >>> plan.current, plan.finished(1)
    (2, True)
    """

    def __init__(self) -> None:
        self.hash: Hash = "consistent"
        """How messages are spread, in all generations."""
        self.sizes: dict[int, int] = {}
        self.ready: set[int] = set()
        """The generations that messages have been led to."""
        self.done: dict[int, set[int]] = {}

    def take(self, entry: Mapping[str, Any]) -> None:
        """Note one entry; what a later version may write is passed by."""
        if "generation" in entry:
            if not self.sizes:
                self.hash = entry.get("hash", self.hash)
            self.sizes.setdefault(int(entry["generation"]), int(entry["partitions"]))
        elif "ready" in entry:
            self.ready.add(int(entry["ready"]))
        elif "done" in entry:
            generation, partition = entry["done"]
            self.done.setdefault(int(generation), set()).add(int(partition))

    def read(self, batch: Batch) -> None:
        """Note the entries of a batch."""
        for body in batch.bodies:
            self.take(msgspec.json.decode(body))

    @property
    def latest(self) -> int:
        """The newest generation; 0 where there is none yet."""
        return max(self.sizes, default=0)

    @property
    def current(self) -> int:
        """The generation that is read now: the first that is not finished."""
        return next((each for each in sorted(self.sizes) if not self.finished(each)), 0)

    def finished(self, generation: int) -> bool:
        """Whether everything in a generation has been read and settled, and no more can come."""
        return generation < self.latest and len(self.done.get(generation, ())) >= self.sizes[generation]


@dataclass(frozen=True)
class Layout:
    """What a partitioned queue consists of on its broker."""

    name: str
    partitions: int
    broker: Broker
    hash: Hash | None = None
    """How messages are spread; ``None`` leaves that to the plan."""
    passive: bool = False

    @property
    def entry(self) -> ExchangeDeclaration:
        """Where messages are sent to, whatever generation is the newest."""
        return ExchangeDeclaration(self.name, "fanout", passive=self.passive)

    @property
    def log(self) -> Stream[Any]:
        """The stream that keeps the plan."""
        return Stream(f"{self.name}.plan", broker=self.broker, passive=self.passive, max_deliveries=None)

    def exchange(self, generation: int) -> str:
        """The name of the exchange that spreads messages over the partitions of a generation."""
        return f"{self.name}.{generation}"

    def queue(self, generation: int, partition: int) -> QueueDeclaration:
        """One partition."""
        name = f"{self.name}.{generation}.{partition}"
        return QueueDeclaration(name, "quorum", {"x-single-active-consumer": True}, passive=self.passive)

    async def build(self, link: Link, generation: int, partitions: int, hash: Hash) -> None:
        """Declare a generation, complete, before the first message is led to it."""
        await declare(link, self.entry, ExchangeDeclaration(self.exchange(generation), HASHES[hash]))
        await declare(link, *(self.queue(generation, each) for each in range(partitions)))
        for partition in range(partitions):
            keys = map(str, range(partition, _SLOTS, partitions)) if hash == "slots" else (_ANY,)
            await self._bind(link, self.queue(generation, partition).name, self.exchange(generation), list(keys))

    async def _bind(self, link: Link, queue: str, exchange: str, keys: Sequence[str]) -> None:
        """Bind a queue, on a connection that may be lost meanwhile."""
        while True:
            session = await link.session()
            try:
                async with link.channel() as channel:
                    for key in keys:
                        await channel.queue_bind(queue, exchange, key)
                return
            except Exception as error:
                if session.alive:
                    raise BrokerError(f"queue {queue!r} cannot be bound to {exchange!r}: {error}") from error

    async def lead(self, link: Link, generation: int, hash: Hash) -> None:
        """Have messages go to a generation from now on; a broker routes each one way or the other."""
        entry = Binding(self.name, "", "fanout")
        await declare(link, ExchangeDeclaration(self.exchange(generation), HASHES[hash], bindings=(entry,)))

    async def plan(self) -> Plan:
        """Read the plan to its end. Raises `TopologyError` where it says another hash than is asked for."""
        plan = Plan()
        connection = await self.log.open_ahead(256, until_empty=True)
        try:
            while (batch := await connection.receive(256)) is not None:
                plan.read(batch)
                await connection.acknowledge(batch.handles)
        finally:
            await connection.close()
        if plan.sizes and self.hash not in (None, plan.hash):
            raise TopologyError(
                f"partition {self.name!r} on {self.broker} is there with hash={plan.hash!r}, and "
                f"hash={self.hash!r} is asked for: leave hash= out, or give that one"
            )
        return plan

    async def note(self, *entries: Mapping[str, Any]) -> None:
        """Append entries to the plan."""
        connection = await self.log.open()
        try:
            await connection.write(Outgoing(entries))
        finally:
            await connection.close()

    async def ensure(self, link: Link) -> Plan:
        """The plan; where there is none, the first generation is built.

        Once the plan says that it is ready, nobody leads messages to the first generation again: it may have been replaced.
        """
        plan = await self.plan()
        if plan.ready:
            return plan
        if self.passive:
            raise BrokerError(
                f"partition {self.name!r} on {self.broker} has no plan yet: let one of its writers or readers create it "
                f"(passive=False)"
            )
        if not plan.sizes:
            # Who comes first decides how many there are, and on the hash; everybody builds what the log says.
            chosen = self.hash or ("modulus" if link.server_version >= _HAS_MODULUS else "slots")
            await self.note({"generation": 1, "partitions": self.partitions, "hash": chosen})
            plan = await self.plan()
        await self.build(link, 1, plan.sizes[1], plan.hash)
        await self.lead(link, 1, plan.hash)
        await self.note({"ready": 1})
        plan.ready.add(1)
        return plan
