"""The fixtures that give tests a real RabbitMQ; tests that use them are marked `broker` by that."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any, NoReturn

import pytest

from tests.brokers.proxy import Proxy
from tests.brokers.rabbitmq import VERSIONS, Authority, Cluster, Node, Unavailable, ensure

# What the nodes that are shared offer; a test that needs another set starts a node of its own.
PLUGINS = ("rabbitmq_management", "rabbitmq_stream", "rabbitmq_consistent_hash_exchange")

# A test that uses one of these is marked `broker`.
FIXTURES = {
    "rabbitmq",
    "rabbitmq_310",
    "rabbitmq_40",
    "rabbitmq_43",
    "rabbitmq_each",
    "rabbitmq_tls",
    "rabbitmq_version",
    "start_cluster",
    "start_node",
    "vhost",
}


class External:
    """A broker that somebody else has started, where no node of ours can be: one vhost for all, and not to be steered."""

    version = "external"

    def __init__(self, url: str) -> None:
        self.url = url

    @contextmanager
    def vhost(self) -> Iterator[str]:
        yield self.url

    def __getattr__(self, name: str) -> NoReturn:
        pytest.skip(f"This test steers its broker ({name}), and the one that WARREN_AMQP_URL names is not ours to steer.")


def refuse(reason: Unavailable) -> NoReturn:
    """Skip with the reason; in CI a broker has to be there, unless Debian has no such version any more."""
    if os.environ.get("CI") and not reason.gone:
        pytest.fail(str(reason), pytrace=False)
    pytest.skip(str(reason))


def newest_of_ours() -> str:
    """The newest version that can be had here, or else the reason why the last one that was tried cannot."""
    *newer, oldest = reversed(VERSIONS)
    for version in newer:
        try:
            ensure(version)
        except Unavailable as reason:
            if os.environ.get("CI") and not reason.gone:
                raise
        else:
            return version
    ensure(oldest)
    return oldest


@pytest.fixture(scope="session")
def _shared() -> Iterator[Callable[[str], Node]]:
    """Gives the session's node of a version, which it starts when it is first asked for."""
    with ExitStack() as stack:

        @cache
        def shared(version: str) -> Node:
            try:
                return stack.enter_context(Node(version, plugins=PLUGINS))
            except Unavailable as reason:
                refuse(reason)

        yield shared


@pytest.fixture(scope="session")
def rabbitmq(_shared: Callable[[str], Node]) -> Node | External:
    """The newest RabbitMQ that is there, shared by the session: leave it running, unpaused and without alarm."""
    try:
        return _shared(newest_of_ours())
    except Unavailable as reason:
        if url := os.environ.get("WARREN_AMQP_URL"):
            return External(url)
        refuse(reason)


@pytest.fixture(scope="session")
def rabbitmq_version() -> str:
    """The newest version of which nodes can be started here: `Node(rabbitmq_version)`."""
    try:
        return newest_of_ours()
    except Unavailable as reason:
        refuse(reason)


@pytest.fixture(scope="session")
def rabbitmq_310(_shared: Callable[[str], Node]) -> Node:
    """RabbitMQ 3.10, shared by the session."""
    return _shared("3.10")


@pytest.fixture(scope="session")
def rabbitmq_40(_shared: Callable[[str], Node]) -> Node:
    """RabbitMQ 4.0, shared by the session."""
    return _shared("4.0")


@pytest.fixture(scope="session")
def rabbitmq_43(_shared: Callable[[str], Node]) -> Node:
    """RabbitMQ 4.3, shared by the session."""
    return _shared("4.3")


@pytest.fixture(scope="session", params=VERSIONS)
def rabbitmq_each(request: pytest.FixtureRequest, _shared: Callable[[str], Node]) -> Node:
    """Each version in turn, shared by the session."""
    return _shared(request.param)


@pytest.fixture
def vhost(rabbitmq: Node | External) -> Iterator[str]:
    """The address of a vhost of this test alone, on the newest RabbitMQ that is there."""
    with rabbitmq.vhost() as url:
        yield url


@pytest.fixture(scope="session")
def rabbitmq_tls(rabbitmq_version: str) -> Iterator[Node]:
    """The newest RabbitMQ with TLS, shared by the session; `rabbitmq_tls.tls` issues certificates for it."""
    with Node(rabbitmq_version, plugins=PLUGINS, tls=Authority()) as node:
        yield node


@pytest.fixture
def start_node() -> Iterator[Callable[..., Node]]:
    """Starts nodes for this test alone, which may be killed, paused and filled: `start_node("4.0", plugins=…)`."""
    with ExitStack() as stack:

        def start(version: str | None = None, **options: Any) -> Node:
            try:
                return stack.enter_context(Node(version or newest_of_ours(), **options))
            except Unavailable as reason:
                refuse(reason)

        yield start


@pytest.fixture
def start_cluster() -> Iterator[Callable[..., Cluster]]:
    """Starts clusters for this test alone: `start_cluster("4.0", size=3, plugins=…)`."""
    with ExitStack() as stack:

        def start(version: str | None = None, **options: Any) -> Cluster:
            try:
                return stack.enter_context(Cluster(version or newest_of_ours(), **options))
            except Unavailable as reason:
                refuse(reason)

        yield start


@pytest.fixture
def start_proxy() -> Iterator[Callable[[int], Proxy]]:
    """Starts proxies in front of a port: `start_proxy(node.amqp_port).url(node)`."""
    with ExitStack() as stack:
        yield lambda target_port: stack.enter_context(Proxy(target_port))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.broker)
