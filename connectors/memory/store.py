"""The messages of one queue in memory."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import secrets
from collections import deque
from collections.abc import Iterable, Sequence

from warren.connectors.memory.waiting import wake
from warren.core.clock import Clock
from warren.core.message import Batch, Metadata

__all__ = ["Message", "Store", "batch"]


class Message:
    """One message, and how often it was tried and handed out."""

    __slots__ = ("attempts", "body", "deliveries", "metadata", "position")

    def __init__(self, position: int, body: bytes, metadata: Metadata) -> None:
        self.position = position
        self.body = body
        self.metadata = metadata
        self.attempts = 1
        self.deliveries = 0


class Store:
    """The messages of one queue."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.prefix = secrets.token_hex(4)
        self.positions = itertools.count(1)
        self.fresh: deque[Message] = deque()
        self.back: list[tuple[int, Message]] = []
        self.delayed: list[tuple[float, int, Message]] = []
        self.held = 0
        self.changed: set[asyncio.Future[None]] = set()
        self.loop: asyncio.AbstractEventLoop | None = None

    @property
    def depth(self) -> int:
        return len(self.fresh) + len(self.back) + len(self.delayed)

    def waiting(self) -> list[Message]:
        returned = [message for _, message in self.back] + [message for _, _, message in self.delayed]
        return [*sorted(returned, key=lambda message: message.position), *self.fresh]

    def enter(self, loop: asyncio.AbstractEventLoop) -> None:
        """Keep what is left of each delay when another event loop, with another time, takes over."""
        if self.loop is not None and self.loop is not loop and self.delayed:
            shift = loop.time() - self.loop.time()
            self.delayed = [(due + shift, position, message) for due, position, message in self.delayed]
        self.loop = loop

    def add(self, bodies: Sequence[bytes], metadata: Iterable[Metadata]) -> None:
        self.fresh.extend(map(Message, self.positions, bodies, metadata))
        self.notify()

    def remove(self, messages: Iterable[Message]) -> list[Message]:
        """Take away those of these messages that still wait; returns them."""
        meant = {message.position for message in messages}
        gone = [message for message in self.waiting() if message.position in meant]
        self.fresh = deque(message for message in self.fresh if message.position not in meant)
        self.back = [each for each in self.back if each[0] not in meant]
        self.delayed = [each for each in self.delayed if each[1] not in meant]
        heapq.heapify(self.back)
        heapq.heapify(self.delayed)
        self.notify()
        return gone

    def put_back(self, messages: Iterable[Message], due: float | None = None) -> None:
        for message in messages:
            if due is None:
                heapq.heappush(self.back, (message.position, message))
            else:
                heapq.heappush(self.delayed, (due, message.position, message))

    def take(self, limit: int, now: float) -> list[Message]:
        while self.delayed and self.delayed[0][0] <= now:
            message = heapq.heappop(self.delayed)[2]
            heapq.heappush(self.back, (message.position, message))
        # What came back is older than anything that was never handed out.
        taken = [heapq.heappop(self.back)[1] for _ in range(min(limit, len(self.back)))]
        taken += [self.fresh.popleft() for _ in range(min(limit - len(taken), len(self.fresh)))]
        for message in taken:
            message.deliveries += 1
        self.held += len(taken)
        return taken

    def notify(self) -> None:
        changed, self.changed = self.changed, set()
        for future in changed:
            wake(future)


def batch(messages: Sequence[Message], depth: int | None = None) -> Batch:
    """Messages as they are read in one go."""
    metadata = [message.metadata for message in messages]
    types = {each.content_type for each in metadata}
    return Batch(
        bodies=[message.body for message in messages],
        handles=[message.position for message in messages],
        content_type=types.pop() if len(types) == 1 else [each.content_type for each in metadata],
        ids=[each.id for each in metadata],
        keys=[each.key for each in metadata],
        headers=[each.headers for each in metadata],
        enqueued=[each.timestamp for each in metadata],
        attempts=[message.attempts for message in messages],
        deliveries=[message.deliveries for message in messages],
        depth=depth,
    )
