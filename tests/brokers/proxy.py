"""A TCP proxy for fault tests: it cuts, refuses, stalls and delays what passes between a client and a broker."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Literal, Protocol, Self
from urllib.parse import urlsplit

from tests.brokers.ports import free_port

Direction = Literal["up", "down"]
"""Up is from the client to the broker, down is from the broker to the client."""

BOTH: tuple[Direction, Direction] = ("up", "down")

# How much of a direction may wait for its delay or for the end of a stall before its sender is held back.
MOST_WAITING = 1 << 20

PATIENCE = 10.0


class HasUrl(Protocol):
    """A node, for one."""

    @property
    def url(self) -> str: ...


class Proxy:
    """Passes connections on to a port of loopback; use it as a context manager, or `start()` and `stop()` it.

    It runs in a thread with a loop of its own, so blocking tests and asyncio ones can use it alike; every method returns
    when it has taken effect. `port` stays the same until `stop()`. `target_port` may be set anew: it is where connections
    made from then on lead to.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = free_port()
        self.bytes: dict[Direction, int] = {"up": 0, "down": 0}
        """How many bytes were passed on."""
        self.connections = 0
        """How many connections were taken since the start."""
        self._links: set[_Link] = set()
        self._stalled: set[Direction] = set()
        self._delay = 0.0
        self._left: dict[Direction, int] = {}
        # Not what a policy may name: only these transports show their sockets.
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy {self.port}", daemon=True)
        self._listener: socket.socket | None = None

    @property
    def open(self) -> int:
        """How many connections are passed on now."""
        return len(self._links)

    def url(self, of: HasUrl | str) -> str:
        """The address of a node, or an address, with the proxy's port instead of its own."""
        parts = urlsplit(of if isinstance(of, str) else of.url)
        login, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{login}{at}{parts.hostname}:{self.port}").geturl()

    def start(self) -> Self:
        """Begin to take connections."""
        self._thread.start()
        self.accept()
        return self

    def stop(self) -> None:
        """Cut everything and end."""
        if self._thread.is_alive():
            self.refuse()
            self.cut()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def refuse(self) -> None:
        """Refuse new connections; those that are open stay."""
        self._call(self._close)

    def accept(self) -> None:
        """Take new connections again."""
        self._call(self._listen)

    def cut(self, *, reset: bool = True) -> None:
        """End all connections now: with RST, so that bytes on their way are lost, or in an orderly way."""
        self._await(self._cut(reset))

    def stall(self, *directions: Direction) -> None:
        """Let no byte pass, nor the news of an end, both ways or in one; connections stay open and new ones are taken."""
        self._call(lambda: self._set_stalled(self._stalled | set(directions or BOTH)))

    def flow(self, *directions: Direction) -> None:
        """Let bytes pass again, beginning with those that waited."""
        self._call(lambda: self._set_stalled(self._stalled - set(directions or BOTH)))

    def delay(self, seconds: float) -> None:
        """Pass on each byte that comes from now on that much later, in order, both ways; 0 ends that."""
        self._call(lambda: setattr(self, "_delay", seconds))

    def drop_after(self, n_bytes: int, direction: Direction) -> None:
        """Pass on that many more bytes in one direction, of all connections together, then cut the one they end in, once."""
        self._call(lambda: self._left.__setitem__(direction, n_bytes))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _await(self, step: Coroutine[None, None, None]) -> None:
        """Let the proxy's thread do `step`, and wait for it."""
        asyncio.run_coroutine_threadsafe(step, self._loop).result(PATIENCE)

    def _call(self, step: Callable[[], object]) -> None:
        async def call() -> None:
            step()

        self._await(call())

    def _listen(self) -> None:
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
            self._listener.setblocking(False)
            self._loop.add_reader(self._listener, self._take)

    def _close(self) -> None:
        if self._listener is not None:
            # Whoever is connected by the kernel already counts as open.
            self._take()
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _take(self) -> None:
        # Not left to asyncio's server, which loses a connection that comes in while it closes.
        assert self._listener is not None
        while True:
            try:
                peer, _ = self._listener.accept()
            except BlockingIOError:
                return
            self.connections += 1
            self._links.add(_Link(self, peer))

    async def _cut(self, reset: bool) -> None:
        links = list(self._links)
        for link in links:
            link.end(reset=reset)
        if reset:
            await asyncio.gather(*(link.life for link in links))

    def _set_stalled(self, directions: set[Direction]) -> None:
        self._stalled = directions
        for link in list(self._links):
            link.client.adjust()
            link.broker.adjust()


class _Link:
    """One connection: its end at the client, its end at the broker."""

    def __init__(self, proxy: Proxy, peer: socket.socket) -> None:
        self.proxy = proxy
        self.client = _End(self, "up")
        self.broker = _End(self, "down")
        self.over = False
        self._reaching: asyncio.Task[object] | None = None
        self.life = asyncio.get_running_loop().create_task(self._live(peer))

    def other(self, end: _End) -> _End:
        return self.broker if end is self.client else self.client

    def end(self, *, reset: bool) -> None:
        """End it on both sides."""
        self.over = True
        if self._reaching is not None:
            self._reaching.cancel()
        self.client.end(reset=reset)
        self.broker.end(reset=reset)

    async def _live(self, peer: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: self.client, peer)
            if not self.over:
                reaching = loop.create_connection(lambda: self.broker, "127.0.0.1", self.proxy.target_port)
                self._reaching = loop.create_task(reaching)
                await self._reaching
        except (OSError, asyncio.CancelledError):
            self.over = True
        if self.over:
            # It was cut before both ends were there.
            self.end(reset=True)
        await self.client.gone.wait()
        await self.broker.gone.wait()
        self.proxy._links.discard(self)


class _End(asyncio.Protocol):
    """One end of a connection; what it reads waits here for its turn to be written to the other."""

    def __init__(self, link: _Link, direction: Direction) -> None:
        self._link = link
        self._proxy = link.proxy
        self._direction = direction
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._held = 0
        self._full = False
        self._timer: asyncio.TimerHandle | None = None
        self._finished = False
        self.gone = asyncio.Event()
        self.gone.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.gone.clear()
        # Only what the kernel has not taken yet counts, so that each side feels the other's back-pressure at once.
        transport.set_write_buffer_limits(0)
        self.adjust()
        self._link.other(self).adjust()

    def data_received(self, data: bytes) -> None:
        self._arrived(data)

    def eof_received(self) -> bool:
        self._arrived(b"")
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.gone.set()
        if not self._link.over:
            self._link.end(reset=error is not None)

    def pause_writing(self) -> None:
        self._full = True
        self._link.other(self).adjust()

    def resume_writing(self) -> None:
        self._full = False
        self._link.other(self).adjust()

    def adjust(self) -> None:
        """Write what may be written, and read only while more may wait."""
        self._pump()
        if self._transport is not None and not self._transport.is_closing():
            if self._blocked() or self._held > MOST_WAITING:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def end(self, *, reset: bool) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.clear()
        if self._transport is not None and not self.gone.is_set():
            if reset:
                _lose_unsent(self._transport)
                self._transport.abort()
            else:
                self._transport.close()

    def _arrived(self, data: bytes) -> None:
        # Asked for after the last byte, so that a shorter delay never overtakes a longer one.
        due = asyncio.get_running_loop().time() + self._proxy._delay
        self._waiting.append((max(due, self._waiting[-1][0]) if self._waiting else due, data))
        self._held += len(data)
        self.adjust()

    def _blocked(self) -> bool:
        other = self._link.other(self)
        return self._direction in self._proxy._stalled or other._transport is None or other._full

    def _pump(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and not self._blocked():
            due, data = self._waiting[0]
            if due > loop.time():
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = loop.call_at(due, self.adjust)
                return
            self._waiting.popleft()
            self._held -= len(data)
            self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        target = self._link.other(self)._transport
        assert target is not None
        if not data:
            if target.can_write_eof() and not target.is_closing():
                target.write_eof()
            self._finished = True
            if self._link.other(self)._finished:
                self._link.end(reset=False)
            return
        left = self._proxy._left.get(self._direction)
        data = data if left is None else data[:left]
        self._proxy.bytes[self._direction] += len(data)
        target.write(data)
        if left is not None:
            self._proxy._left[self._direction] = left - len(data)
            if left == len(data):
                del self._proxy._left[self._direction]
                self._link.end(reset=True)


def _lose_unsent(transport: asyncio.Transport) -> None:
    """Let the socket's end be an RST."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
