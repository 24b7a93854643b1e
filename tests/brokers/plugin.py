"""The fixtures that give tests a real RabbitMQ; tests that use them are marked `broker` by that."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import NoReturn

import pytest

from tests.brokers.rabbitmq import VERSIONS, Node, Unavailable

# What the nodes that are shared offer; a test that needs another set starts a node of its own.
PLUGINS = ("rabbitmq_management", "rabbitmq_stream", "rabbitmq_consistent_hash_exchange")

FIXTURES = {"rabbitmq", "rabbitmq_310", "rabbitmq_40", "rabbitmq_43", "rabbitmq_each", "vhost", "start_node"}


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


class Shared:
    """The nodes of one session, each started when it is first asked for."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.node = cache(self._node)

    def newest(self) -> Node | External:
        """The newest version that is there."""
        reasons: list[Unavailable] = []
        for version in reversed(VERSIONS):
            try:
                return self.node(version)
            except Unavailable as reason:
                reasons.append(reason)
                if os.environ.get("CI") and not reason.gone:
                    break
        if url := os.environ.get("WARREN_AMQP_URL"):
            return External(url)
        refuse(reasons[-1])

    def _node(self, version: str) -> Node:
        return self._stack.enter_context(Node(version, plugins=PLUGINS))


@pytest.fixture(scope="session")
def _shared_nodes() -> Iterator[Shared]:
    with ExitStack() as stack:
        yield Shared(stack)


def _shared(shared: Shared, version: str) -> Node:
    try:
        return shared.node(version)
    except Unavailable as reason:
        refuse(reason)


@pytest.fixture(scope="session")
def rabbitmq(_shared_nodes: Shared) -> Node | External:
    """The newest RabbitMQ that is there, shared by the session: leave it running, unpaused and without alarm."""
    return _shared_nodes.newest()


@pytest.fixture(scope="session")
def rabbitmq_310(_shared_nodes: Shared) -> Node:
    """RabbitMQ 3.10, shared by the session."""
    return _shared(_shared_nodes, "3.10")


@pytest.fixture(scope="session")
def rabbitmq_40(_shared_nodes: Shared) -> Node:
    """RabbitMQ 4.0, shared by the session."""
    return _shared(_shared_nodes, "4.0")


@pytest.fixture(scope="session")
def rabbitmq_43(_shared_nodes: Shared) -> Node:
    """RabbitMQ 4.3, shared by the session."""
    return _shared(_shared_nodes, "4.3")


@pytest.fixture(scope="session", params=VERSIONS)
def rabbitmq_each(request: pytest.FixtureRequest, _shared_nodes: Shared) -> Node:
    """Each version in turn, shared by the session."""
    return _shared(_shared_nodes, request.param)


@pytest.fixture
def vhost(rabbitmq: Node | External) -> Iterator[str]:
    """The address of a vhost of this test alone, on the newest RabbitMQ that is there."""
    with rabbitmq.vhost() as url:
        yield url


@pytest.fixture
def start_node() -> Iterator[Callable[..., Node]]:
    """Starts nodes for this test alone, which may be killed, paused and filled: `start_node("4.0", plugins=…)`."""
    with ExitStack() as stack:

        def start(version: str = VERSIONS[-1], **options: object) -> Node:
            try:
                return stack.enter_context(Node(version, **options))  # type: ignore[arg-type]
            except Unavailable as reason:
                refuse(reason)

        yield start


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.broker)
