"""A network in memory: bytes arrive later, in order, cut anywhere; or they are held up, or lost."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.brokers.model.connection import ServerConnection
    from tests.brokers.model.schedule import Schedule

__all__ = ["ModelTransport", "Pipe"]

# What the system takes before a writer has to wait.
SOCKET_BUFFER = 128 * 1024


class Pipe:
    """One direction of a connection. ``deliver`` gets what arrives; ``ended`` is told how it ended, None for a clean end."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        schedule: Schedule,
        deliver: Callable[[bytes], None],
        ended: Callable[[Exception | None], None],
    ) -> None:
        self.loop = loop
        self.schedule = schedule
        self.deliver = deliver
        self.ended = ended
        self.waiting: deque[tuple[float, bytes]] = deque()
        self.size = 0
        self.put_at = self.due = 0.0
        self.held_until = 0.0
        self.paused = False
        self.ending = self.closed = self.broken = False
        self.handle: asyncio.Handle | None = None
        self.drained: Callable[[], None] | None = None

    def put(self, data: bytes) -> None:
        """Send bytes."""
        if self.ending or not data:
            return
        now = self.loop.time()
        self.size += len(data)
        if now != self.put_at or not self.waiting:
            self.put_at = now
            self.due = max(self.due, now + self.schedule.latency(), self.held_until)
        self.waiting.append((self.due, data))
        if self.handle is None and not self.paused:
            self._arm()

    def _arm(self) -> None:
        when = max(self.waiting[0][0] if self.waiting else 0.0, self.held_until)
        if when <= self.loop.time():
            self.handle = self.loop.call_soon(self._arrive)
        else:
            self.handle = self.loop.call_at(when, self._arrive)

    def _arrive(self) -> None:
        self.handle = None
        if self.paused or self.closed:
            return
        now, waiting = self.loop.time(), self.waiting
        if self.held_until > now:
            self._arm()
            return
        parts = []
        # Timers may fire a little early, by the clock's resolution.
        while waiting and waiting[0][0] <= now + 1e-6:
            parts.append(waiting.popleft()[1])
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        cut = self.schedule.cut(len(data))
        if cut:
            waiting.appendleft((now + self.schedule.latency(), data[cut:]))
            data = data[:cut]
        if data:
            self.size -= len(data)
            self.deliver(data)
            if self.drained is not None:
                self.drained()
        if self.waiting and self.handle is None and not self.paused and not self.closed:
            self._arm()
        elif self.ending and not self.waiting and not self.closed and not self.paused:
            self._finish()

    def _finish(self) -> None:
        self.closed = True
        self.ended(None)

    def end(self) -> None:
        """No more will be sent; what was sent still arrives."""
        if self.ending:
            return
        self.ending = True
        if not self.waiting:
            self.waiting.append((max(self.due, self.loop.time() + self.schedule.latency()), b""))
            if self.handle is None and not self.paused:
                self._arm()

    def reset(self, error: Exception | None = None) -> None:
        """The connection breaks: what has not arrived is lost, and the receiver hears of it."""
        if not self.broken:
            self.drop()
            error = error or ConnectionResetError(104, "Connection reset by peer")
            self.loop.call_later(self.schedule.latency(), self.ended, error)

    def drop(self) -> None:
        """Nothing more arrives, and nobody hears of it, now or later."""
        self.silence()
        self.closed = self.broken = True

    def silence(self) -> None:
        """Nothing more arrives, until somebody says why."""
        self.ending = True
        self.waiting.clear()
        self.size = 0
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None

    def hold(self, until: float) -> None:
        """Nothing arrives before a time."""
        self.held_until = max(self.held_until, until)

    def pause(self) -> None:
        """The receiver reads no more for now."""
        self.paused = True

    def resume(self) -> None:
        """The receiver reads again."""
        self.paused = False
        if (self.waiting or self.ending) and self.handle is None and not self.closed:
            self._arm()


class ModelTransport(asyncio.Transport):
    """The client's end: what asyncio gives a protocol instead of a socket."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, protocol: asyncio.BaseProtocol, address: tuple[str, int], number: int
    ) -> None:
        super().__init__({"peername": address, "sockname": ("127.0.0.1", 50000 + number), "socket": None})
        self.loop = loop
        self.protocol = protocol
        self.server: ServerConnection
        self.outgoing: Pipe
        self.incoming: Pipe
        self.closing = False
        self.full = False
        self.high, self.low = 64 * 1024, 16 * 1024

    def join(self, server: ServerConnection, outgoing: Pipe, incoming: Pipe) -> None:
        """Connect both ends."""
        self.server, self.outgoing, self.incoming = server, outgoing, incoming
        outgoing.drained = self._drained

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.closing:
            return
        self.outgoing.put(data if type(data) is bytes else bytes(data))
        if not self.full and self.outgoing.size > SOCKET_BUFFER + self.high:
            self.full = True
            self.protocol.pause_writing()

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def _drained(self) -> None:
        if self.full and self.outgoing.size <= SOCKET_BUFFER + self.low and not self.closing:
            self.full = False
            self.protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return max(0, self.outgoing.size - SOCKET_BUFFER)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = (64 * 1024 if low is None else 4 * low) if high is None else high
        self.low = self.high // 4 if low is None else low

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self.low, self.high

    def can_write_eof(self) -> bool:
        return False

    # Reading

    def received(self, data: bytes) -> None:
        """Bytes have arrived."""
        if self.closing:
            return
        protocol: Any = self.protocol
        if isinstance(protocol, asyncio.BufferedProtocol):
            while data:
                buffer = protocol.get_buffer(len(data))
                size = min(len(buffer), len(data))
                buffer[:size] = data[:size]
                protocol.buffer_updated(size)
                data = data[size:]
        else:
            protocol.data_received(data)

    def ended(self, error: Exception | None) -> None:
        """The other side has ended the connection, or the network has."""
        if self.closing:
            return
        protocol: Any = self.protocol
        if error is not None:
            self.fail(error)
        elif not protocol.eof_received():
            self.close()

    def pause_reading(self) -> None:
        self.incoming.pause()

    def resume_reading(self) -> None:
        self.incoming.resume()

    def is_reading(self) -> bool:
        return not self.incoming.paused and not self.closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    # The end

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.outgoing.end()
            self._closed(None)

    def abort(self) -> None:
        if not self.closing:
            self.outgoing.reset()
            self._closed(None)

    def fail(self, error: Exception) -> None:
        """The connection is broken, as the client sees it."""
        if not self.closing:
            self.outgoing.drop()
            self._closed(error)

    def _closed(self, error: Exception | None) -> None:
        self.closing = True
        self.loop.call_soon(self.protocol.connection_lost, error)
