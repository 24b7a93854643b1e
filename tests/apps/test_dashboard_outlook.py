"""What is unusual, what is expected, and who decided what."""

from __future__ import annotations

import asyncio
import math
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.apps.browser import chromium, page
from tests.apps.dashboards import HERE, on_a_page
from warren import Pipeline
from warren.analytics import Flows, Recorder
from warren.analytics.remedies import Remedies, Remedy, pause
from warren.analytics.routing import EarliestFinish
from warren.apps.dashboard.access import Access
from warren.apps.dashboard.beside import served
from warren.apps.dashboard.hub import Hub
from warren.apps.dashboard.outlook import Unusual, expected
from warren.apps.dashboard.queues import Queues
from warren.apps.dashboard.recorded import Recorded, hours
from warren.apps.dashboard.server import Server
from warren.apps.dashboard.snapshot import Snapshot
from warren.connectors import memory
from warren.core.errors import StorageError
from warren.operators import map, route

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["chromium", "page"]


def points(rates: Any) -> list[dict[str, Any]]:
    return [{"at": float(i), "rate": rate} for i, rate in enumerate(rates)]


def test_nothing_is_expected_before_two_minutes_are_known() -> None:
    assert expected(points([5.0] * 119)) == {}
    assert expected(points([None] * 300)) == {}
    assert list(expected(points([5.0] * 120))) == ["rate"]


def test_what_is_expected_holds_nine_of_ten() -> None:
    draw = np.random.default_rng(3)
    steady = 100 + 10 * draw.standard_normal(4000)
    inside = 0
    for start in range(0, 3300, 50):
        told = expected(points(steady[start : start + 600]))["rate"]
        came = steady[start + 600 + 59]
        inside += told["low"][-1] <= came <= told["high"][-1]
    assert 0.8 <= inside / len(range(0, 3300, 50)) <= 1.0


def test_what_grows_is_expected_to_go_on() -> None:
    told = expected(points(np.arange(300) * 10.0))["rate"]
    assert 3500 <= told["values"][-1] <= 3700
    falling = expected(points(np.maximum(0, 3000 - np.arange(300) * 10.0)))["rate"]
    assert min(falling["low"]) == 0.0, "there are no fewer than none"


def test_a_restless_series_is_not_unusual_and_an_outage_is() -> None:
    draw = np.random.default_rng(5)
    unusual, past = Unusual(), points(1000 + 50 * draw.standard_normal(600))
    for i, point in enumerate(past):
        unusual.take(point, past[:i])
    before = len(unusual.alarms)
    assert before <= 4
    unusual.take({"at": 600.0, "rate": 0.0}, past)
    assert len(unusual.alarms) == before + 1
    assert unusual.alarms[-1]["value"] == 0 and 850 < unusual.alarms[-1]["low"] < unusual.alarms[-1]["high"] < 1150


def test_plots_mark_what_is_unusual_and_show_what_is_expected(page: Page) -> None:
    from playwright.sync_api import expect

    now = 1000.0
    hub = Hub(clock=lambda: now)

    def second(number: int, received: int) -> None:
        nonlocal now
        now += 1
        hub.take(Snapshot("shop", "w", number, now, 1.0, received=received, in_flight=1, credit=10))
        hub.tick()

    for number in range(1, 300):
        second(number, 100 + number % 9)
    second(300, 5000)
    server = Server(hub, Queues({}, hub.queues), HERE, Access(HERE, None, changes=False))
    view = hub.pipes["shop"].view
    assert [alarm["field"] for alarm in view["alarms"]] == ["rate"]
    assert set(view["ahead"]) == {"rate", "in_flight"}
    with served(server):
        page.goto(server.address)
        plot = page.locator(".plot").filter(has_text="Received")
        expect(plot.locator(".alarm")).to_have_count(1)
        expect(plot.locator(".band")).to_have_count(1)
        expect(plot.locator(".said")).to_have_text(re.compile("unusual: 5,000/s, usual 10[0-2]/s to 10[6-8]/s"))
        plot.get_by_role("img").focus()
        page.keyboard.press("Home")
        expect(plot.locator(".said")).to_have_text(re.compile(r"\d\d:\d\d:\d\d  101/s"))


def recorded(folder: Path, days: int) -> None:
    """Flows of so many days, with an hour on the last but one that is unlike others."""
    at: list[float] = []
    for hour in range(24 * days):
        count = 12 + round(8 * math.sin(hour * math.pi / 12)) + hour % 5
        count *= 6 if hour == 24 * (days - 2) else 1
        at += [3600 * (hour + each / count) for each in range(count)]
    pipeline = Pipeline("shop", memory.items([]) | memory.into([]), observers=[Recorder(folder)])
    pipeline.test(range(len(at)), at=at, start=1_790_000_000 // 3600 * 3600.0)


def test_the_next_day_comes_from_what_was_recorded(tmp_path: Path, page: Page) -> None:
    from playwright.sync_api import expect

    recorded(tmp_path, 8)
    found = hours(Flows(tmp_path))["shop"]
    assert len(found["points"]) == 168 and not found["why"]
    assert 1_790_000_000 // 3600 * 3600 + 6 * 86_400 in [alarm["at"] for alarm in found["alarms"]]
    ahead = found["ahead"]["rate"]
    assert len(ahead["values"]) == 24
    assert all(low <= middle <= high for low, middle, high in zip(ahead["low"], ahead["values"], ahead["high"], strict=True))
    hub = Hub()
    server = Server(hub, Queues({}, hub.queues), HERE, Access(HERE, None, changes=False), Recorded(tmp_path))
    with served(server) as loop:
        loop.call_soon_threadsafe(hub.take, Snapshot("shop", "w", 1, time.time(), 1.0))
        page.goto(server.address)
        plot = page.locator(".plot").filter(has_text="Received by hour")
        expect(plot.locator(".band")).to_have_count(1)
        expect(plot.locator(".alarm")).not_to_have_count(0)


def test_a_day_is_too_short_to_tell_of_the_next(tmp_path: Path) -> None:
    recorded(tmp_path, 1)
    found = hours(Flows(tmp_path))["shop"]
    assert found["ahead"] == {} and "record for longer" in found["why"]
    with pytest.raises(StorageError, match="does not exist"):
        Recorded(tmp_path / "none")


def test_decisions_are_shown_with_their_reasons(page: Page) -> None:
    from playwright.sync_api import expect

    targets = EarliestFinish(mode="shadow")
    remedies = Remedies([Remedy(lambda figures: True, pause(), hold="1h")], every="50ms")
    flow: Any = memory.items(range(2_000_000_000)) | map(step, concurrency=4)
    flow |= route(targets, a=memory.into([]), b=memory.into([]))
    with on_a_page(Pipeline("shop", flow, observers=[remedies])) as address:
        page.goto(f"{address}/#/decisions")
        route_card = page.get_by_role("region", name="EarliestFinish in shop", exact=True)
        expect(route_card).to_contain_text("shadow")
        expect(route_card.get_by_role("row").nth(3)).to_contain_text("well")
        remedy = page.get_by_role("region", name="pause() in shop", exact=True)
        expect(remedy.get_by_role("row").nth(1)).to_contain_text("open")


async def step(value: int) -> int:
    await asyncio.sleep(0.001)
    return value
