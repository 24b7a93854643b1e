"""The page of a pipeline at work, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.apps.browser import chromium, page
from tests.apps.dashboards import on_a_page, publish
from warren import Pipeline
from warren.connectors import memory, sqlite
from warren.operators import map

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["chromium", "page"]


def checked(order: dict[str, int]) -> dict[str, int]:
    if order["n"] < 0:
        raise ValueError(f"order {order['n']} is unknown")
    return order


@pytest.fixture
def orders(tmp_path: Path) -> Any:
    return sqlite.queue(tmp_path / "q.db", "orders", dict)


@pytest.fixture
def address(orders: Any) -> Iterator[str]:
    with on_a_page(Pipeline("shop", orders | map(checked) | memory.into([]))) as address:
        yield address


def node(page: Page, name: str) -> Any:
    return page.locator(f".graph [data-node='{name}']")


def test_the_live_graph_follows_what_happens(address: str, orders: Any, page: Page) -> None:
    from playwright.sync_api import expect

    page.goto(address)
    expect(page.get_by_role("heading", name="shop")).to_be_visible()
    expect(node(page, "1:map(checked)")).to_have_attribute("aria-label", re.compile("map.checked., idle, 0/s"))
    publish(orders, [{"n": n} for n in range(500)])
    expect(node(page, "1:map(checked)")).to_have_attribute("aria-label", re.compile(r"map.checked., ok, [1-9]"))
    expect(page.locator(".edge .rate").first).to_have_text(re.compile(r"^[1-9]\d*(\.\d)?/s$"))
    publish(orders, [{"n": -n} for n in range(1, 100)])
    expect(node(page, "1:map(checked)")).to_have_class(re.compile("failing"))
    expect(node(page, "letters:shop.dead")).to_have_attribute("aria-label", re.compile(r"shop.dead, ok, [1-9]"))
    expect(page.locator(".figures")).to_contain_text("Dead letters99")


def test_it_can_be_used_without_a_mouse_and_read_without_the_drawing(address: str, page: Page) -> None:
    from playwright.sync_api import expect

    page.goto(address)
    expect(node(page, "1:map(checked)")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.node") == "1:map(checked)":
            break
    expect(node(page, "1:map(checked)")).to_be_focused()
    outlined = page.evaluate("getComputedStyle(document.activeElement.querySelector('.box')).strokeWidth")
    assert outlined == "2px", "the focus is seen"
    page.keyboard.press("Enter")
    expect(page.locator(".detail")).to_contain_text("map(checked)")
    page.keyboard.press("Tab")
    page.get_by_text("The graph as a table").focus()
    page.keyboard.press("Enter")
    rows = page.get_by_role("region", name="Steps of the pipeline").get_by_role("row")
    expect(rows.nth(2)).to_contain_text("map(checked)")


def test_it_has_a_light_and_a_dark_face_and_fits_a_phone(address: str, page: Page) -> None:
    from playwright.sync_api import expect

    page.goto(address)
    expect(node(page, "1:map(checked)")).to_be_visible()
    paper = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(paper)
    page.emulate_media(color_scheme="light")
    assert page.evaluate(paper) != dark
    switch = page.get_by_role("button", name=re.compile("Colours"))
    switch.click()
    switch.click()
    assert page.evaluate(paper) == dark, "whoever chose dark gets it on a light system"
    page.reload()
    assert page.evaluate(paper) == dark
    page.set_viewport_size({"width": 390, "height": 844})
    expect(node(page, "1:map(checked)")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
