"""Looking after queues from outside of any pipeline: what a connector offers for it, and what dead letters say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from warren.core.checkup import Finding
from warren.core.errors import GraphError
from warren.core.health import QueueHealth
from warren.core.message import ATTEMPTS, Batch, Metadata

if TYPE_CHECKING:
    from warren.core.graph import Outlet

__all__ = ["ERROR", "FIRST_FAILED", "LETTER", "SOURCE", "Admin", "Chosen", "Pace", "Replayed", "restored"]

ERROR = "warren-error"
"""In a dead letter: what kind of error it was. A message with this header is a letter."""
SOURCE = "warren-source"
"""In a dead letter: the name of the source that its message came from."""
FIRST_FAILED = "warren-first-failed"
LETTER = frozenset(
    f"warren-{what}" for what in ("reason", "fingerprint", "stage", "last-failed", "pipeline", "row", "properties")
) | {ERROR, SOURCE, ATTEMPTS, FIRST_FAILED}
"""The headers that a dead letter has and its message had not."""

Chosen = Callable[[Metadata], bool]
"""Whether a message is meant, by what is known of it."""


class _Went(NamedTuple):
    moved: int
    left: Mapping[str, int]


class Replayed(_Went):
    """How many letters went back, and why how many others stayed where they were.

    Beside the two, ``repeated`` is how many of those that went may be back twice.
    """

    repeated: int = 0


class Admin(Protocol):
    """The queues at one address. Each method raises `ConnectorError` where it cannot do its part.

    A connector offers it by a function ``admin(address)`` beside ``source`` and ``sink``, which gives it with the name of
    the queue that the address names, or an empty one. A queue that is not there raises `TopologyError`.
    """

    async def queues(self) -> Sequence[QueueHealth]:
        """Every queue, by name."""
        ...

    async def queue(self, name: str) -> QueueHealth:
        """One queue."""
        ...

    async def create(self, name: str) -> bool:
        """Make a durable queue; ``False`` where it was there already."""
        ...

    async def delete(self, name: str) -> None:
        """Remove a queue with all that is in it."""
        ...

    async def purge(self, name: str) -> int:
        """Remove the messages that wait in a queue; returns how many."""
        ...

    async def caution(self, name: str) -> str:
        """What a look does to the messages of a queue, as a sentence without its full stop; empty where it does no harm."""
        ...

    def peek(self, name: str, ahead: int = 1000) -> AsyncGenerator[Batch, None]:
        """The messages that wait, in their order, up to ``ahead`` in one go. They are there afterwards as they were."""
        ...

    async def drop(self, name: str, chosen: Chosen) -> int:
        """Remove those of the waiting messages that are meant; returns how many."""
        ...

    async def replay(
        self,
        name: str,
        chosen: Chosen,
        *,
        limit: int | None,
        rate: float | None,
        progress: Callable[[Replayed], None] | None = None,
    ) -> Replayed:
        """Send dead letters back to where they came from, ``rate`` a second at most; none is ever lost.

        ``progress`` hears what is done, before letters go that may be there twice: they are counted as ``repeated`` then.
        """
        ...

    def checkup(self, name: str = "") -> AsyncGenerator[Finding, None]:
        """What is well and what is not: with the place itself, and with a queue where one is named. Raises nothing."""
        ...

    def outlet(self, name: str) -> Outlet[Any]:
        """What writes to a queue that is there."""
        ...


class Pace:
    """Keeps work to so many messages a second; ``None`` is as fast as it goes.

    >>> Pace(50).at_once(500), Pace(None).at_once(500)
    (5, 500)
    """

    def __init__(self, rate: float | None) -> None:
        if rate is not None and not 0 < rate < float("inf"):
            raise GraphError(f"a rate of {rate} messages a second is none; give a number above 0")
        self._rate = rate
        self._start: float | None = None
        self._done = 0

    def at_once(self, most: int) -> int:
        """How many messages to take in one go."""
        return most if self._rate is None else max(1, min(most, int(self._rate / 10)))

    async def keep(self, count: int) -> None:
        """Wait until so many more messages may have been sent."""
        if self._rate is None:
            await asyncio.sleep(0)
            return
        now = asyncio.get_running_loop().time()
        self._start = now if self._start is None else self._start
        self._done += count
        await asyncio.sleep(max(0.0, self._start + self._done / self._rate - now))


def restored(letter: Metadata) -> Metadata:
    """What was known of the message of a dead letter; when it failed for the first time stays known.

    >>> restored(Metadata(id="7", headers={"shop": "eu", ERROR: "ValueError", FIRST_FAILED: "5.0"})).headers
    {'shop': 'eu', 'warren-first-failed': '5.0'}
    """
    kept = {name: value for name, value in letter.headers.items() if name not in LETTER or name == FIRST_FAILED}
    return Metadata(letter.id, kept, letter.timestamp, letter.key, 1, letter.content_type)
