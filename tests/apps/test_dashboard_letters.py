"""Queues and dead letters on the page, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.apps.browser import chromium, page
from tests.apps.dashboards import depths, on_a_page, publish
from warren import Pipeline
from warren.connectors import sqlite
from warren.operators import map

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["chromium", "page"]

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


class Service:
    """Fails until it is mended."""

    def __init__(self) -> None:
        self.works = False

    def __call__(self, order: dict[str, Any]) -> dict[str, Any]:
        if not self.works:
            raise TimeoutError(f"no answer for {order['name']}")
        return order


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "q.db"


def pipeline(file: Path, service: Service) -> Pipeline:
    orders: Any = sqlite.queue(file, "orders", dict)
    publish(orders, [{"name": HOSTILE}, {"name": "Ada"}, {"name": "Bob"}])
    return Pipeline("shop", orders | map(service) | sqlite.queue(file, "out"))


@pytest.fixture
def address(file: Path, service: Service) -> Iterator[str]:
    with on_a_page(pipeline(file, service), changes=True) as address:
        depths(file, {"shop.dead": 3})
        yield address


def test_a_letter_is_inspected_and_replayed(address: str, file: Path, service: Service, page: Page) -> None:
    from playwright.sync_api import expect

    page.goto(f"{address}/#/letters")
    rows = page.locator("tr[data-letter]")
    expect(rows).to_have_count(3)
    page.get_by_role("searchbox").fill("reason~Ada")
    page.get_by_role("button", name="Look", exact=True).click()
    expect(rows).to_have_count(1)
    rows.get_by_role("button").click()
    letter = page.get_by_role("region", name="Message", exact=True)
    expect(letter).to_contain_text("no answer for Ada")
    expect(letter.locator("pre")).to_contain_text('"name": "Ada"')
    service.works = True
    letter.get_by_role("button", name="Replay").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("1 to sqlite:orders")
    dialog.get_by_role("button", name="Replay").click()
    expect(page.locator("[data-page=letters]")).to_contain_text("1 went back.")
    depths(file, {"shop.dead": 2, "out": 1})
    page.get_by_role("searchbox").fill("")
    page.get_by_role("button", name="Look", exact=True).click()
    expect(rows).to_have_count(2)
    page.get_by_role("button", name="Drop all").click()
    expect(dialog).to_contain_text("cannot be brought back")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(rows).to_have_count(2)
    page.get_by_role("button", name="Drop all").click()
    dialog.get_by_role("button", name="Drop").click()
    expect(page.locator("[data-page=letters]")).to_contain_text("2 dropped.")
    depths(file, {"shop.dead": 0, "out": 1})


def test_what_a_message_holds_is_text_and_does_not_run(address: str, page: Page) -> None:
    from playwright.sync_api import expect

    page.goto(f"{address}/#/letters")
    hostile = page.locator("tr[data-letter]").filter(has_text="onerror")
    expect(hostile).to_contain_text(HOSTILE)
    hostile.get_by_role("button").click()
    letter = page.get_by_role("region", name="Message", exact=True)
    expect(letter.locator("pre")).to_contain_text("<script>document.title='owned'</script>")
    assert page.locator("main img, main script").count() == 0
    assert page.title() == "warren"


def test_queues_are_listed_and_lead_to_their_messages(address: str, page: Page) -> None:
    from playwright.sync_api import expect

    page.goto(f"{address}/#/queues")
    row = page.get_by_role("row").filter(has_text="shop.dead")
    expect(row.get_by_role("cell").first).to_have_text("3")
    row.get_by_role("link", name="Look at the messages of shop.dead").click()
    expect(page.locator("tr[data-letter]")).to_have_count(3)


def test_it_only_looks_unless_it_is_told_otherwise(file: Path, service: Service, page: Page) -> None:
    from playwright.sync_api import expect

    with on_a_page(pipeline(file, service)) as address:
        depths(file, {"shop.dead": 3})
        page.goto(f"{address}/#/letters")
        expect(page.locator("tr[data-letter]")).to_have_count(3)
        expect(page.get_by_role("button", name="Replay all")).to_be_disabled()
        expect(page.get_by_role("button", name="Drop all")).to_be_disabled()
        expect(page.locator("[data-page=letters]")).to_contain_text(re.compile("Read-only.*--allow-changes"))
        depths(file, {"shop.dead": 3})
