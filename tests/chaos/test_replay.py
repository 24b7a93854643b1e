"""A replay of dead letters that is killed; ``make chaos`` does it with a hundred thousand of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.brokers.rabbitmq import Node
from tests.chaos.replay import ALL, HALF, account


@pytest.mark.parametrize("where", [ALL, HALF], ids=["all", "half"])
def test_a_killed_replay_in_a_file_loses_and_doubles_nothing(tmp_path: Path, where: str) -> None:
    found = asyncio.run(account(f"sqlite:{tmp_path}/queues.db?queue={{}}", 10_000, 2, where))
    assert (found.problem, found.twice, found.reported) == ("", 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("where", [ALL, HALF], ids=["all", "half"])
def test_a_killed_replay_on_rabbitmq_loses_nothing_and_says_what_may_be_twice(rabbitmq_43: Node, where: str) -> None:
    with rabbitmq_43.vhost() as url:
        found = asyncio.run(account(f"{url}?queue={{}}", 4000, 2, where))
    assert (found.problem, found.stayed) == ("", 2000 if where else 0)
