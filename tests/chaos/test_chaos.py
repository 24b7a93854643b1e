"""Each scenario once, with one fault; ``make chaos`` plays them all, often, on every version and both paths."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.brokers.plugin import refuse
from tests.brokers.rabbitmq import VERSIONS, Cluster, Node, Unavailable
from tests.chaos.run import play
from tests.chaos.scenarios import SCENARIOS, Scenario

pytestmark = [pytest.mark.broker, pytest.mark.slow]


@pytest.fixture(scope="module")
def single() -> Iterator[list[Node]]:
    try:
        with Node(VERSIONS[-1]) as node:
            yield [node]
    except Unavailable as reason:
        refuse(reason)


@pytest.fixture
def trio() -> Iterator[list[Node]]:
    try:
        with Cluster(VERSIONS[-1]) as cluster:
            yield list(cluster.nodes)
    except Unavailable as reason:
        refuse(reason)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_nothing_that_was_confirmed_is_lost(scenario: Scenario, request: pytest.FixtureRequest) -> None:
    nodes = request.getfixturevalue("trio" if scenario.cluster else "single")
    account = asyncio.run(play(scenario, nodes, rounds=1))
    assert account.problem == ""
    assert account.missing == 0
    assert account.confirmed > 0
    assert account.dead > 0
