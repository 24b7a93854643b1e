"""The proxy that the fault tests put between a client and a broker."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.brokers.proxy import Direction, Proxy

PATIENCE = 10.0


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that sends back what it gets, as long as it gets something."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(peer: socket.socket) -> None:
        with peer:
            try:
                while data := peer.recv(1 << 16):
                    peer.sendall(data)
            except OSError:
                return

    def take() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(peer,), daemon=True).start()

    thread = threading.Thread(target=take)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.fixture
def proxy(echo: int) -> Iterator[Proxy]:
    with Proxy(echo) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with connect(proxy) as peer:
        yield peer


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), PATIENCE)


def read(peer: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size and (data := peer.recv(size - len(got))):
        got += data
    return got


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def silent(peer: socket.socket) -> bool:
    """Whether nothing comes for a moment, neither bytes nor an end."""
    peer.settimeout(0.05)
    try:
        peer.recv(1)
    except TimeoutError:
        return True
    finally:
        peer.settimeout(PATIENCE)
    return False


def test_it_passes_on_and_counts(proxy: Proxy, client: socket.socket) -> None:
    body = bytes(range(256)) * 4096
    threading.Thread(target=client.sendall, args=(body,), daemon=True).start()
    assert read(client, len(body)) == body
    assert (proxy.bytes, proxy.connections, proxy.open) == ({"up": len(body), "down": len(body)}, 1, 1)


def test_an_end_goes_through(proxy: Proxy, client: socket.socket) -> None:
    client.sendall(b"last")
    client.shutdown(socket.SHUT_WR)
    assert read(client, 100) == b"last"
    wait_for(lambda: proxy.open == 0)


def test_a_cut_resets(proxy: Proxy, client: socket.socket) -> None:
    client.sendall(b"x")
    assert read(client, 1) == b"x"
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert proxy.open == 0


def test_an_orderly_cut_ends(proxy: Proxy, client: socket.socket) -> None:
    client.sendall(b"x")
    assert read(client, 1) == b"x"
    proxy.cut(reset=False)
    assert client.recv(1) == b""


def test_refused_then_accepted(proxy: Proxy, client: socket.socket) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    client.sendall(b"still")
    assert read(client, 5) == b"still"
    proxy.accept()
    with connect(proxy) as second:
        second.sendall(b"new")
        assert read(second, 3) == b"new"


@pytest.mark.parametrize("directions", [(), ("up",), ("down",)])
def test_stalled_connections_stay_open(proxy: Proxy, client: socket.socket, directions: tuple[Direction, ...]) -> None:
    proxy.stall(*directions)
    client.sendall(b"held")
    assert silent(client)
    assert proxy.open == 1
    proxy.flow()
    assert read(client, 4) == b"held"


def test_one_direction_flows_while_the_other_is_stalled(proxy: Proxy, client: socket.socket) -> None:
    proxy.stall("down")
    client.sendall(b"held")
    wait_for(lambda: proxy.bytes["up"] == 4)
    assert proxy.bytes == {"up": 4, "down": 0}
    proxy.flow("down")
    assert read(client, 4) == b"held"


def test_the_end_of_a_stalled_peer_is_not_noticed(proxy: Proxy, client: socket.socket) -> None:
    client.sendall(b"x")
    assert read(client, 1) == b"x"
    proxy.stall("down")
    client.shutdown(socket.SHUT_WR)
    assert silent(client)
    proxy.flow()
    assert client.recv(1) == b""


def test_a_delay_holds_each_byte_in_order(proxy: Proxy, client: socket.socket) -> None:
    proxy.delay(0.05)
    begun = time.monotonic()
    for number in range(100):
        client.sendall(bytes([number]))
    assert read(client, 100) == bytes(range(100))
    # Once on the way to the server and once on the way back.
    assert time.monotonic() - begun >= 0.1
    proxy.delay(0)
    client.sendall(b"soon")
    assert read(client, 4) == b"soon"


@pytest.mark.parametrize("direction", ["up", "down"])
def test_it_drops_in_the_middle(proxy: Proxy, client: socket.socket, direction: Direction) -> None:
    client.sendall(b"whole")
    assert read(client, 5) == b"whole"
    proxy.drop_after(3, direction)
    client.sendall(b"broken")
    with pytest.raises(ConnectionResetError):
        read(client, 6)
    assert proxy.bytes[direction] == 8
    with connect(proxy) as second:
        second.sendall(b"whole again")
        assert read(second, 11) == b"whole again"


def test_back_pressure_goes_through(proxy: Proxy, client: socket.socket) -> None:
    proxy.stall("up")
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.sendall(bytes(100_000_000))
    proxy.cut()


def test_a_broker_that_is_not_there_resets() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        # The reset may come before the client knows that it is connected.
        with Proxy(unused.getsockname()[1]) as proxy, pytest.raises(ConnectionResetError), connect(proxy) as client:
            client.recv(1)


def test_half_an_end_goes_through(proxy: Proxy, client: socket.socket) -> None:
    proxy.stall("down")
    client.sendall(b"held")
    client.shutdown(socket.SHUT_WR)
    wait_for(lambda: proxy.bytes["up"] == 4)
    assert proxy.open == 1
    proxy.flow()
    assert read(client, 5) == b"held"


def test_an_address_leads_through_it() -> None:
    proxy = Proxy(1)
    assert proxy.url("amqps://me:secret@localhost:5671/orders?a=b") == f"amqps://me:secret@localhost:{proxy.port}/orders?a=b"
    proxy.stop()
