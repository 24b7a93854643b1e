"""Workers that report to a dashboard over a broker."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.apps.browser import chromium, page
from tests.apps.dashboards import in_a_thread, publish
from warren import Pipeline
from warren.apps.dashboard import reported
from warren.apps.dashboard.hub import Hub
from warren.apps.dashboard.snapshot import Snapshot
from warren.apps.dashboard.telling import Over, listen
from warren.connectors import address, memory, rabbitmq, sqlite
from warren.operators import map

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["chromium", "page"]

PROGRAM = [sys.executable, "-c", "from warren.apps.cli import main; main()"]
SHOP = """
from warren import Pipeline
from warren.connectors import memory, sqlite
from warren.operators import map

orders = Pipeline("shop", sqlite.queue("q.db", "orders", int) | map(lambda n: n + 1) | memory.into([]))
"""


def report(number: int = 1, worker: str = "w1", **known: Any) -> Snapshot:
    return Snapshot("shop", worker, number, time.time(), 1.0, **known)


class Noticing(Hub):
    """Says when it has something to say three times."""

    def __init__(self) -> None:
        super().__init__()
        self.thrice = asyncio.Event()

    def notice(self, text: str) -> None:
        super().notice(text)
        if len(self.notices) == 3:
            self.thrice.set()


async def told(where: str, send: Callable[[], Any]) -> Hub:
    """What a dashboard knows that listens while ``send`` sends."""
    hub = Hub()
    listening = asyncio.ensure_future(listen(where, hub))
    try:
        async with asyncio.timeout(20):
            while "shop" not in hub.pipes or len(hub.pipes["shop"].workers) < 2:
                # An exchange throws away what comes before the dashboard has bound its queue.
                await send()
                await asyncio.sleep(0.02)
    finally:
        listening.cancel()
        await asyncio.wait((listening,))
    return hub


async def two_workers(where: str) -> Hub:
    over = Over(where)
    numbers = iter(range(1, 10_000))

    async def send() -> None:
        await over.send(report(next(numbers), "w1", received=3))
        await over.send(report(next(numbers), "w2", received=4, in_flight=9))

    try:
        return await told(where, send)
    finally:
        await over.close()


@pytest.mark.parametrize("where", ["memory:reports", "sqlite:reports.db?queue=reports"])
def test_two_workers_are_seen_together(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hub = asyncio.run(two_workers(where))
    hub.tick()
    view = hub.pipes["shop"].view
    assert [worker["id"] for worker in view["workers"]] == ["w1", "w2"]
    assert (view["point"]["rate"], view["point"]["in_flight"]) == (7, 9)


@pytest.mark.broker
@pytest.mark.parametrize("option", ["exchange", "queue"])
def test_two_workers_are_seen_over_rabbitmq(vhost: str, option: str) -> None:
    hub = asyncio.run(two_workers(f"{vhost}?{option}=warren.reports"))
    hub.tick()
    assert hub.pipes["shop"].view["point"]["rate"] == 7


@pytest.mark.broker
def test_nothing_piles_up_on_rabbitmq_where_nobody_listens(vhost: str) -> None:
    async def send(where: str) -> None:
        over = Over(where)
        for number in range(3):
            await over.send(report(number))
        await over.close()

    async def main() -> Any:
        await send(f"{vhost}?exchange=warren.reports")
        await send(f"{vhost}?queue=warren.reports")
        broker = rabbitmq.Broker(vhost)
        again = rabbitmq.Queue(
            "warren.reports", kind="classic", broker=broker, arguments={"x-message-ttl": 15_000, "x-max-length": 10_000}
        )
        await (await again.open()).close()  # with other arguments this would be refused
        return await address.admin(vhost)[0].queue("warren.reports")

    assert asyncio.run(main()).depth == 3


@pytest.mark.parametrize("where", ["memory:unread", "sqlite:reports.db?queue=reports"])
def test_nothing_piles_up_where_nobody_listens(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def main() -> int:
        over = Over(where)
        for number in range(450):
            await over.send(report(number))
        await over.close()
        if where.startswith("memory"):
            return memory.Queue("unread").broker.depth("unread")
        admin, queue = address.admin(where)
        return (await admin.queue(queue)).depth or 0

    assert asyncio.run(main()) <= 210


def test_what_is_no_report_is_told_and_does_no_harm(tmp_path: Path) -> None:
    where = f"sqlite:{tmp_path / 'r.db'}?queue=reports"
    publish(
        address.sink(where),
        [b"{", b'{"colour": "red"}', b'{"pipeline":"p","worker":"w","number":1,"at":1,"seconds":1,"version":9}'],
    )

    async def main() -> Hub:
        hub = Noticing()
        listening = asyncio.ensure_future(listen(where, hub))
        async with asyncio.timeout(20):
            await hub.thrice.wait()
        listening.cancel()
        await asyncio.wait((listening,))
        return hub

    hub = in_a_thread(main())
    assert not hub.pipes
    assert "reports in version 9" in list(hub.notices)[2]


def test_a_pipeline_goes_on_where_its_reports_cannot_be_sent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out: list[int] = []
    (tmp_path / "text").mkdir()
    pipeline = Pipeline("shop", memory.items(range(3)) | map(lambda n: n + 1) | memory.into(out))
    reported(pipeline, f"sqlite:{tmp_path / 'text'}?queue=reports").run()
    assert out == [1, 2, 3]
    assert "a report could not be sent" in caplog.text


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_the_command_shows_the_workers_of_other_processes(tmp_path: Path, page: Page) -> None:
    from playwright.sync_api import expect

    (tmp_path / "shop.py").write_text(SHOP)
    orders: Any = sqlite.queue(tmp_path / "q.db", "orders", int)
    publish(orders, range(100))
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        started.append(subprocess.Popen([*PROGRAM, *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True))
        return started[-1]

    try:
        where = "sqlite:reports.db?queue=reports"
        served = start("dashboard", where, "--listen", "127.0.0.1:0", "--queues", "sqlite:q.db")
        assert served.stderr is not None
        address = served.stderr.readline().split()[-1]
        workers = [start("run", "shop:orders", "--report-to", where) for _ in range(2)]
        page.goto(address)
        expect(page.get_by_text("2 workers")).to_be_visible()
        rows = page.get_by_role("region", name="Workers").last.locator("tbody tr")
        expect(rows).to_have_count(2)
        workers[0].send_signal(signal.SIGTERM)
        assert workers[0].wait(20) == 0
        expect(rows.filter(has_text="ended")).to_have_count(1)
        workers[1].kill()
        expect(rows.filter(has_text="silent")).to_have_count(1)
        expect(page.locator(".title").get_by_text("silent")).to_be_visible()
        page.goto(f"{address}#/queues")
        expect(page.get_by_role("row").filter(has_text="orders")).to_be_visible()
        served.send_signal(signal.SIGINT)
        assert served.wait(20) == 0
    finally:
        for process in started:
            process.kill()
            process.communicate()
