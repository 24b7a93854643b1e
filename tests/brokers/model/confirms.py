"""When a broker confirms what was published on a channel, and in how many frames."""

from __future__ import annotations

from asyncio import TimerHandle
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING

from tests.brokers.model import wire
from tests.brokers.model.messages import Copy

if TYPE_CHECKING:
    from tests.brokers.model.channel import ServerChannel

__all__ = ["Confirms"]


class Confirms:
    """The publishes of one channel that are not confirmed yet."""

    def __init__(self, channel: ServerChannel) -> None:
        self.channel = channel
        self.broker = channel.connection.broker
        self.last = 0
        # What each stands for, in the order of publishing.
        self.open: dict[int, tuple[Copy, ...]] = {}
        self.later: list[tuple[float, int, bool]] = []
        self.accepted: list[int] = []
        self.refused: list[int] = []
        self.timer: TimerHandle | None = None

    def add(self, copies: tuple[Copy, ...], refused: bool, delay: float) -> None:
        """One more publish: what was stored of it, whether it is to be refused, and when to say so."""
        self.last += 1
        self.open[self.last] = copies
        if delay == inf:
            return
        if delay <= 0:
            self._decide(self.last, refused)
            self.broker.after_reading(self)
            return
        heappush(self.later, (self.broker.loop.time() + delay, self.last, refused))
        self._arm()

    def _arm(self) -> None:
        if self.later and (self.timer is None or self.timer.when() > self.later[0][0]):
            if self.timer is not None:
                self.timer.cancel()
            self.timer = self.broker.loop.call_at(self.later[0][0], self._ripe)

    def _ripe(self) -> None:
        self.timer = None
        # A little more than what is due, so that several go out together.
        limit = self.broker.loop.time() + self.broker.schedule.together
        while self.later and self.later[0][0] <= limit:
            _, tag, refused = heappop(self.later)
            self._decide(tag, refused)
        self.flush()
        self._arm()

    def _decide(self, tag: int, refused: bool) -> None:
        (self.refused if refused else self.accepted).append(tag)

    def flush(self) -> None:
        """Send what is decided, joined as RabbitMQ joins it."""
        accepted, refused = sorted(self.accepted), sorted(self.refused)
        self.accepted, self.refused = [], []
        if self.channel.closing or not (accepted or refused):
            return
        ledger, number = self.broker.ledger, self.channel.number
        for tag in refused:
            self.open.pop(tag)
        for tag in accepted:
            ledger.confirm(self.open.pop(tag))
        oldest = next(iter(self.open), self.last + 1)
        frames = []
        if refused:
            frames += self._joined(number, refused, min([oldest, *accepted]), wire.nack)
        if len(accepted) == 1:
            frames.append(wire.ack(number, accepted[0], False))
        elif accepted:
            frames += self._joined(number, accepted, min([oldest, *refused]), wire.ack)
        self.channel.connection.write(b"".join(frames))
        self.broker.has("confirmed")

    def _joined(self, number: int, tags: list[int], limit: int, write: type) -> list[bytes]:
        if not self.broker.schedule.joined:
            return [write(number, tag, False) for tag in tags]
        below = [tag for tag in tags if tag < limit]
        frames = [write(number, below[-1], True)] if below else []
        return frames + [write(number, tag, False) for tag in tags[len(below) :]]

    def close(self) -> None:
        """The channel ends; nobody will hear of the rest."""
        self.accepted, self.refused, self.later = [], [], []
        if self.timer is not None:
            self.timer.cancel()
