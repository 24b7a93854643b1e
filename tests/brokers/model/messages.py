"""A message, its copy in a queue, and what is written on it when it dies there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.brokers.model import wire

if TYPE_CHECKING:
    from tests.brokers.model.queues import Queue

__all__ = ["GONE", "HELD", "MOVED", "QUEUED", "SETTLED", "Copy", "Message", "in_a_circle"]

# What became of a copy.
QUEUED, HELD, SETTLED, MOVED, GONE = "queued", "held", "settled", "moved", "gone"

COUNT = b"\x10x-delivery-count"


class Message:
    """What was published, and where to. Never changed; a dead letter is a new one."""

    __slots__ = ("body", "exchange", "expiration", "header", "identity", "key", "persistent", "table")

    def __init__(self, exchange: str, key: str, header: bytes, body: bytes, identity: str | None = None) -> None:
        _, self.table, mode, self.expiration, message_id = wire.scan_header(header)
        self.exchange = exchange
        self.key = key
        self.header = header
        self.body = body
        self.persistent = mode == 2
        self.identity = identity or message_id or body.decode("latin-1")
        """What the ledger calls it: its message id, or its body if it has none."""

    def counted(self, returns: int) -> bytes:
        """Its content header with the number of earlier deliveries."""
        if COUNT in self.table:
            headers = wire.read_headers(self.header) | {"x-delivery-count": returns}
            return wire.with_headers(self.header, wire.write_table(headers))
        return wire.with_headers(self.header, self.table + COUNT + b"l" + wire.LONG_LONG.pack(returns))

    def copies(self) -> tuple[list[str], Message]:
        """The further keys that its headers CC and BCC name, and itself without the blind ones."""
        if b"\x02CC" not in self.table and b"\x03BCC" not in self.table:
            return [], self
        headers = wire.read_headers(self.header)
        keys = [*headers.get("CC", ()), *headers.pop("BCC", ())]
        return keys, Message(self.exchange, self.key, wire.with_headers(self.header, wire.write_table(headers)), self.body)

    def buried(self, queue: Queue, reason: str, now: float) -> tuple[Message, list[dict[str, Any]]]:
        """Itself as a dead letter of a queue, and the list of its deaths, the last one first."""
        headers = wire.read_headers(self.header)
        deaths = [death for death in headers.get("x-death") or () if isinstance(death, dict)]
        same = next((each for each in deaths if (each.get("queue"), each.get("reason")) == (queue.name, reason)), None)
        if same is None:
            keys = [self.key, *headers.get("CC", ())]
            time = datetime.fromtimestamp(int(now), UTC)
            death = {"count": 1, "reason": reason, "queue": queue.name, "time": time, "exchange": self.exchange}
            death["routing-keys"] = keys
            if self.expiration is not None:
                death["original-expiration"] = self.expiration
        else:
            deaths.remove(same)
            death = same | {"count": same.get("count", 0) + 1}
        deaths.insert(0, death)
        headers["x-death"] = deaths
        headers.setdefault("x-first-death-reason", reason)
        headers.setdefault("x-first-death-queue", queue.name)
        headers.setdefault("x-first-death-exchange", self.exchange)
        key = self.key if queue.dead_letter_key is None else queue.dead_letter_key
        if queue.dead_letter_key is not None:
            headers.pop("CC", None)
        header = wire.with_headers(self.header, wire.write_table(headers), keep_expiration=False)
        return Message(queue.dead_letter_exchange or "", key, header, self.body, self.identity), deaths


def in_a_circle(queue: str, deaths: list[dict[str, Any]]) -> bool:
    """Whether a dead letter has been in that queue before, and nobody has rejected it since."""
    for death in deaths:
        if death.get("reason") == "rejected":
            return False
        if death.get("queue") == queue:
            return True
    return False


class Copy:
    """A message in one queue."""

    __slots__ = (
        *("message", "queue", "position", "expires", "durable", "confirmed"),
        *("redelivered", "handed", "returns", "state", "why", "next"),
    )

    def __init__(self, message: Message, queue: Queue, expires: float | None) -> None:
        self.message = message
        self.queue = queue
        self.expires = expires
        self.position = 0
        self.redelivered = False
        self.handed = 0
        """How often it was given to a client."""
        self.returns = 0
        """How often it was given back, where the queue counts that."""
        self.durable = queue.durable and (message.persistent or queue.quorum)
        self.confirmed = False
        self.state = QUEUED
        self.why = ""
        self.next: tuple[Copy, ...] = ()
        """The copies that it was moved to, if it was."""

    def __repr__(self) -> str:
        return f"<{self.message.identity} in {self.queue.name}: {self.state} {self.why}>".replace(" >", ">")
