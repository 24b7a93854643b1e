"""How a running pipeline and its ends fare, as plain values: for probes, metrics and people."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import msgspec

from warren.core.breaker import State

__all__ = ["PATIENCE", "HasHealth", "Health", "QueueHealth", "Rates"]

PATIENCE = 60.0
"""Seconds without progress, or without room, before that is said of an end."""


class QueueHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of one queue; ``None`` where nobody knows.

    - ``depth``: messages ready to be delivered; ``unacked``: delivered and not settled; ``consumers``: who gets them
    - ``published``, ``delivered``, ``acknowledged``: messages a second
    - ``growth``: by how many a second it grows, negative where it shrinks
    - ``drain``: seconds until it is empty if that goes on; ``None`` where it does not shrink
    """

    name: str
    depth: int | None = None
    unacked: int | None = None
    consumers: int | None = None
    published: float | None = None
    delivered: float | None = None
    acknowledged: float | None = None
    growth: float | None = None
    drain: float | None = None


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether something is ``live`` (it does its work, and a restart would not help) and ``ready`` (it is below its limits).

    ``reasons`` are sentences: why it is not, and what else is worth knowing. ``reconnects`` counts connections that were
    made again, ``unconfirmed`` messages that are on their way to a sink; ``breaker`` is what holds back attempts to connect.

    >>> lost = Health(name="rabbitmq:orders", live=False, reasons=("not connected",))
    >>> shop = Health.joined("shop", [lost, Health(name="rabbitmq:bills", ready=False)])
    >>> shop.live, shop.ready, shop.reasons
    (False, False, ('rabbitmq:orders: not connected',))
    """

    name: str
    live: bool = True
    ready: bool = True
    reasons: tuple[str, ...] = ()
    queues: tuple[QueueHealth, ...] = ()
    reconnects: int = 0
    unconfirmed: int = 0
    breaker: State = "closed"

    @staticmethod
    def joined(name: str, parts: Iterable[Health]) -> Health:
        """The health of what consists of these: live and ready where all of them are."""
        parts = list(parts)
        breakers = {part.breaker for part in parts}
        reasons = [(part.name, reason) for part in parts for reason in part.reasons]
        return Health(
            name=name,
            live=all(part.live for part in parts),
            ready=all(part.ready for part in parts),
            reasons=tuple(dict.fromkeys(reason if of == name else f"{of}: {reason}" for of, reason in reasons)),
            queues=tuple(queue for part in parts for queue in part.queues),
            reconnects=sum(part.reconnects for part in parts),
            unconfirmed=sum(part.unconfirmed for part in parts),
            breaker="open" if "open" in breakers else "half-open" if "half-open" in breakers else "closed",
        )


@runtime_checkable
class HasHealth(Protocol):
    """A connection that can tell how it fares. It is asked now and then, and must not slow down what it does."""

    async def health(self, patience: float = PATIENCE) -> Health:
        """How it fares; what has lasted for ``patience`` seconds is told, a shorter while is none of a fault."""
        ...


class Rates:
    """Messages a second, from counters that are looked at now and then: since the oldest look within ``span`` seconds.

    >>> rates = Rates(span=30.0)
    >>> rates.at(10.0, received=100, depth=5)
    {}
    >>> rates.at(20.0, received=300, depth=None)
    {'received': 20.0}
    """

    def __init__(self, span: float = 30.0, least: float = 0.1) -> None:
        self._span = span
        self._least = least
        self._looks: deque[tuple[float, dict[str, float | None]]] = deque()

    def at(self, now: float, **counts: float | None) -> dict[str, float]:
        """Take what the counters are now; returns how fast each changes, where that is known."""
        looks = self._looks
        while len(looks) > 1 and now - looks[0][0] > self._span:
            looks.popleft()
        found: dict[str, float] = {}
        if looks and (passed := now - looks[0][0]) >= self._least:
            before = looks[0][1]
            for name, count in counts.items():
                past = before.get(name)
                if count is not None and past is not None:
                    found[name] = (count - past) / passed
        if not looks or now - looks[-1][0] >= self._least:
            looks.append((now, counts))
        return found
