"""The demonstration on RabbitMQ: the same account, also when it is killed; nothing left behind, and no password kept."""

from __future__ import annotations

import asyncio
import io
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from tests.apps.demos import check, start, wait_for
from tests.brokers.ports import free_port
from tests.brokers.rabbitmq import Node
from warren.apps.demo import state
from warren.apps.demo.broker import connect
from warren.apps.demo.run import demo
from warren.apps.demo.totals import Totals
from warren.connectors import rabbitmq
from warren.connectors.rabbitmq.queues import delete, look
from warren.core.errors import AddressError, BrokerError

LIMIT = 6_000
KILLS = 3


def run(folder: Path, broker: str | None, limit: int | None = LIMIT, resume: bool | None = None) -> tuple[Totals, str]:
    console = Console(file=io.StringIO(), width=100)
    totals = demo(broker, folder, limit, resume, False, console)
    assert totals is not None
    return totals, console.file.getvalue()  # type: ignore[attr-defined]


def queues(node: Node, vhost: str) -> list[str]:
    return [each["name"] for each in node.api("GET", f"queues/{vhost.rpartition('/')[2]}")]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Totals:
    """The account as it is in memory."""
    return run(tmp_path_factory.mktemp("demo") / "run", "memory:")[0]


@pytest.mark.slow
def test_the_account_is_exact_and_the_queues_are_gone(rabbitmq_each: Node, tmp_path: Path, expected: Totals) -> None:
    with rabbitmq_each.vhost() as vhost:
        totals, text = run(tmp_path, vhost)
        check(totals, expected)
        assert (totals.again, totals.dead_again) == (0, 0)
        assert "reconciled" in text
        assert queues(rabbitmq_each, vhost) == []


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kill -9")
@pytest.mark.parametrize("seed", [2013, 2014])
def test_nothing_is_lost_whenever_it_is_killed(rabbitmq: Node, tmp_path: Path, expected: Totals, seed: int) -> None:
    chance = random.Random(seed)
    with rabbitmq.vhost() as vhost:
        round, starts, killed = 0, 0, 0
        folder = tmp_path / "0"
        while killed < KILLS:
            process = start(folder, LIMIT, "--broker", vhost)
            wait_for(process, folder, starts := starts + 1)
            try:
                output, _ = process.communicate(timeout=chance.uniform(0.0, 4.0))
                assert process.returncode == 0 and "reconciled" in output, output
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                killed += 1
            resumed = state.load(folder)
            if process.returncode == 0 or (resumed is not None and resumed.phase == "finished"):
                # It was faster than the kill; the next kill hits another run.
                round, starts = round + 1, 0
                folder = tmp_path / str(round)
        resumed = state.load(folder)
        check(run(folder, vhost, resume=True if resumed is not None and resumed.phase != "finished" else None)[0], expected)


@pytest.fixture
def login(rabbitmq: Node) -> Iterator[str]:
    """The address of a user with a password, in a vhost of its own."""
    with rabbitmq.vhost() as vhost:
        yield rabbitmq.add_user("departures", "s3cret/word", vhost=vhost.rpartition("/")[2])


def test_the_password_is_not_kept(login: str, tmp_path: Path) -> None:
    totals, text = run(tmp_path, login, limit=300)
    assert totals.problems == []
    kept = "".join(path.read_text() for path in (tmp_path / "demo.json", tmp_path / "report.html"))
    assert "s3cret" not in kept + text
    assert '"broker":"amqp://departures@127.0.0.1:' in kept


def test_a_broker_that_is_not_there_leaves_no_run_behind(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="start it, or correct the address"):
        run(tmp_path / "run", f"amqp://me:s3cret@127.0.0.1:{free_port()}/")
    assert not (tmp_path / "run").exists()


def test_an_unfinished_run_needs_its_password_again(login: str, tmp_path: Path) -> None:
    shown = connect(login).shown
    assert "s3cret" not in shown
    state.save(tmp_path, state.State(shown, "flights-1", 300, secret=True))
    with pytest.raises(AddressError, match=r"amqp://departures@\S+, and the password is not kept; give the whole address"):
        run(tmp_path, None, limit=None)
    with pytest.raises(AddressError, match=r"not amqp://departures@elsewhere/;") as refused:
        run(tmp_path, "amqp://departures:s3cret@elsewhere/", limit=None)
    assert "s3cret" not in str(refused.value)
    totals, text = run(tmp_path, login, limit=None)
    assert totals.messages == 300 and "Going on with the unfinished run" in text


def test_a_password_that_everybody_knows_need_not_be_given_again() -> None:
    assert connect("amqp://guest:guest@localhost/").secret is False
    assert connect("amqp://localhost/").secret is False
    assert connect("amqp://guest:other@localhost/").secret is True


def test_publishing_that_was_cut_short_begins_again_in_another_queue(vhost: str, tmp_path: Path) -> None:
    run_state = state.State(connect(vhost).shown, "flights-1", 300, starts=1)
    state.save(tmp_path, run_state)
    broker = rabbitmq.Broker(vhost)

    async def leave_some() -> None:
        connection = await rabbitmq.queue("flights-1", broker=broker).open()
        await connection.close()

    asyncio.run(leave_some())
    totals, _ = run(tmp_path, vhost, limit=None)
    assert (totals.problems, totals.again) == ([], 0)
    assert asyncio.run(look("flights-1", broker)) is None


def test_starting_afresh_removes_the_queues_of_the_run_before(vhost: str, tmp_path: Path) -> None:
    state.save(tmp_path, state.State(connect(vhost).shown, "flights-1", 300, "processing", starts=1))
    broker = rabbitmq.Broker(vhost)

    async def leave_some() -> None:
        connection = await rabbitmq.queue("flights-1", broker=broker).open()
        await connection.close()

    asyncio.run(leave_some())
    assert run(tmp_path, vhost, limit=300, resume=False)[0].problems == []
    assert asyncio.run(look("flights-1", broker)) is None


def test_what_a_consumer_still_holds_is_waited_for(vhost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warren.apps.demo.broker._PATIENCE", 0.3)
    server = connect(vhost)
    queue = server.queue("held", None)

    async def hold() -> None:
        connection = await queue.open_ahead(10)
        try:
            with pytest.raises(BrokerError, match="still read by 1 consumer"):
                await asyncio.to_thread(server.depth, "held")
        finally:
            await connection.close()

    asyncio.run(hold())
    assert server.depth("held") == 0 and server.depth("nowhere") == 0
    asyncio.run(delete("held", broker=rabbitmq.Broker(vhost)))
    assert asyncio.run(look("held", rabbitmq.Broker(vhost))) is None


@pytest.mark.parametrize(
    "address", ["amqp://me:s3cret@mq/v?queue=x", "amqp://me:s3cret@mq:port/v", "amqps://me:s3cret@/a/b"]
)
def test_an_address_that_leads_nowhere_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(AddressError) as refused:
        connect(address)
    assert "s3cret" not in str(refused.value)


def test_a_broker_that_the_demo_does_not_know_is_told_which_it_does() -> None:
    with pytest.raises(AddressError, match="the demo works with memory:, sqlite:///path/to/file and amqp://"):
        connect("kafka://here/")
