"""The pictures of the dashboard in ``docs/pictures``: ``python -m tests.apps.pictures`` makes them anew, in some minutes.

Two workers charge orders at a card service, until more orders come than it can take.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.apps.dashboards import HERE, at_work, pause
from tests.house.tree import ROOT
from warren import Pipeline
from warren.apps.dashboard.access import Access
from warren.apps.dashboard.beside import served
from warren.apps.dashboard.graph import graph_of
from warren.apps.dashboard.hub import Hub
from warren.apps.dashboard.queues import Queues, admins_of
from warren.apps.dashboard.reporting import Reporting
from warren.apps.dashboard.server import Server
from warren.apps.dashboard.telling import Beside
from warren.connectors import sqlite
from warren.core.message import Outgoing
from warren.operators import batch, dead_letter, map, route

if TYPE_CHECKING:
    from playwright.sync_api import Page

PICTURES = ROOT / "docs" / "pictures"
CALM, BUSY = 170, 45
DESKTOP, PHONE = (1280, 800), (390, 844)

draw = random.Random(7)
file = Path(tempfile.mkdtemp()) / "shop.db"


def queue(name: str, type: Any = None) -> Any:
    return sqlite.queue(file, name, type, synchronous="normal")


def price(order: dict[str, Any]) -> dict[str, Any]:
    return {**order, "price": round(1.2 * order["amount"], 2)}


async def charge(order: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(draw.uniform(0.01, 0.03))
    if order["id"] % 211 == 0:
        raise TimeoutError("the card service gave no answer within 2 s")
    if order["id"] % 517 == 0:
        raise LookupError(f"customer {order['customer']} is unknown")
    return order


def region(order: dict[str, Any]) -> str:
    return str(order["region"])


def orders() -> Pipeline:
    billing = route(
        region, eu=batch(100, "1s") | queue("billing.eu"), us=queue("billing.us"), default=dead_letter("unroutable")
    )
    return Pipeline("orders", queue("orders", dict) | map(price) | map(charge, concurrency=12) | billing, credit=1000)


def feed(ending: threading.Event) -> None:
    async def publish() -> None:
        connection = await queue("orders").open()
        ids, start = itertools.count(1), time.monotonic()
        while not ending.is_set():
            passed = time.monotonic() - start
            count = 55 + draw.randrange(12) + (110 if passed > CALM else 90 if 95 < passed < 98 else 0)
            made = [
                {
                    "id": id,
                    "customer": f"C-{draw.randrange(10_000):04}",
                    "region": "br" if id % 397 == 0 else draw.choice(["eu", "eu", "us"]),
                    "amount": draw.randrange(500, 20_000) / 100,
                }
                for id in itertools.islice(ids, count)
            ]
            await connection.write(Outgoing(made))
            await asyncio.sleep(0.1)
        await connection.close()

    asyncio.run(publish())


def kept(page: Page, name: str, theme: Any, size: tuple[int, int]) -> None:
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.wait_for_timeout(2500)
    place = PICTURES / f"{name}.png"
    page.screenshot(path=place)
    with Image.open(place) as picture:
        # Rare colours are those of the states, so they have to stay.
        few = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(place, optimize=True)


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    pipeline, hub, ending = orders(), Hub(), threading.Event()
    server = Server(hub, Queues(admins_of(pipeline), hub.queues), HERE, Access(HERE, None, changes=True))
    feeding = threading.Thread(target=feed, args=(ending,))
    with ExitStack() as stack:
        loop = stack.enter_context(served(server))
        for _ in range(2):
            reporting = Reporting(graph_of(pipeline), Beside(hub, loop))
            stack.enter_context(at_work(pipeline.observed(reporting)))
        feeding.start()
        stack.callback(ending.set)
        end = time.monotonic() + CALM + BUSY
        while time.monotonic() < end:
            pause()
        browser = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        page = browser.new_page()
        page.goto(server.address)
        kept(page, "dashboard", "light", DESKTOP)
        kept(page, "dashboard-dark", "dark", DESKTOP)
        kept(page, "dashboard-phone", "dark", PHONE)
        page.goto(f"{server.address}/#/letters")
        page.locator("tr[data-letter] button").nth(2).click()
        kept(page, "dashboard-letters-phone", "light", PHONE)
        page.evaluate("scrollTo(0, 0)")
        page.mouse.move(0, 0)
        kept(page, "dashboard-letters", "light", DESKTOP)
        browser.close()


if __name__ == "__main__":
    main()
