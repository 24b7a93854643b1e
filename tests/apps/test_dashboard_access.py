"""Who may look at a dashboard, who may change something, and what browsers are told."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.apps.browser import chromium, page
from tests.apps.dashboards import depths, on_a_page, publish
from warren import Pipeline
from warren.analytics.probes import place
from warren.apps.dashboard.access import Access
from warren.apps.dashboard.command import access_for
from warren.connectors import memory, sqlite
from warren.core.errors import AddressError
from warren.operators import map

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["chromium", "page"]

TOKEN = "a token that nobody guesses"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
JSON = {"Content_Type": "application/json"}


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def value(self) -> Any:
        return json.loads(self.body)


def ask(address: str, path: str, body: Any = None, **headers: str) -> Answer:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        text = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", path, text, named)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def pipeline(folder: Path) -> Pipeline:
    orders: Any = sqlite.queue(folder / "q.db", "orders", int)
    publish(orders, [0, 0])
    return Pipeline("shop", orders | map(lambda n: 1 // n) | memory.into([]))


@pytest.fixture
def open_one(tmp_path: Path) -> Iterator[str]:
    with on_a_page(pipeline(tmp_path), changes=True) as address:
        depths(tmp_path / "q.db", {"shop.dead": 2})
        yield address


@pytest.fixture
def closed_one(tmp_path: Path) -> Iterator[str]:
    with on_a_page(pipeline(tmp_path), TOKEN) as address:
        depths(tmp_path / "q.db", {"shop.dead": 2})
        yield address


def meant(folder: Path) -> dict[str, str]:
    return {"place": f"sqlite:{folder / 'q.db'}", "queue": "shop.dead"}


def test_every_answer_carries_what_keeps_others_out(open_one: str) -> None:
    for path in ("/", "/static/main.js", "/static/base.css", "/api/session", "/nowhere", "/static/..%2fserver.py"):
        headers = ask(open_one, path).headers
        policy = headers["Content-Security-Policy"]
        assert "script-src 'self'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in headers
    assert ask(open_one, "/static/..%2fserver.py").status == 404
    page = ask(open_one, "/").body.decode()
    assert " style=" not in page and "onclick" not in page and "<script>" not in page


def test_without_the_token_nothing_is_told(closed_one: str) -> None:
    for path in ("/api/session", "/api/events", "/api/queues", "/api/letters", "/api/letter"):
        assert ask(closed_one, path).status == 401
        assert ask(closed_one, path, Authorization="Bearer wrong").status == 401
        assert ask(closed_one, path, Cookie=f"warren-{urlsplit(closed_one).port}=wrong").status == 401
    assert ask(closed_one, "/api/replay", {}, **JSON).status == 401
    assert ask(closed_one, "/session", {"token": "wrong"}, **JSON).status == 401
    assert ask(closed_one, "/session", ["wrong"], **JSON).status == 400
    assert b"shop" not in ask(closed_one, "/").body


def test_the_token_opens_it_as_a_bearer_or_for_a_session(closed_one: str) -> None:
    assert ask(closed_one, "/api/queues", **BEARER).value[1]["depth"] == 2
    answer = ask(closed_one, "/session", {"token": TOKEN}, **JSON)
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and TOKEN not in cookie
    assert ask(closed_one, "/api/session", Cookie=cookie.partition(";")[0]).value == {"changes": False, "change": None}


def test_it_only_looks_unless_it_is_told_otherwise(closed_one: str, tmp_path: Path) -> None:
    for path in ("/api/replay", "/api/drop"):
        answer = ask(closed_one, path, meant(tmp_path), **JSON, **BEARER)
        assert answer.status == 403 and "--allow-changes" in answer.value["error"]
    depths(tmp_path / "q.db", {"shop.dead": 2})


def test_a_page_of_another_place_changes_nothing(open_one: str, tmp_path: Path) -> None:
    change = {"X_Warren_Change": ask(open_one, "/api/session").value["change"]}
    drop, what = "/api/drop", meant(tmp_path)
    assert ask(open_one, drop, what, **JSON).status == 403
    assert ask(open_one, drop, what, **JSON, X_Warren_Change="wrong").status == 403
    assert ask(open_one, drop, what, **JSON, **change, Origin="https://evil.example").status == 403
    assert ask(open_one, drop, what, Content_Type="text/plain", **change).status == 415
    assert ask(open_one, "/api/queues", Sec_Fetch_Site="cross-site").status == 403, "as a picture on a page elsewhere"
    assert ask(open_one, "/api/queues", Sec_Fetch_Site="same-origin").status == 200
    assert ask(open_one, "/api/queues", Host="evil.example").status == 421, "a name that leads to this machine"
    depths(tmp_path / "q.db", {"shop.dead": 2})
    assert ask(open_one, drop, what, **JSON, **change, Origin=open_one).value == {"dropped": 2}


def test_what_cannot_be_is_a_sentence(open_one: str, tmp_path: Path) -> None:
    change = {"X_Warren_Change": ask(open_one, "/api/session").value["change"]}
    here = f"place={meant(tmp_path)['place']}"
    for path, sentence in {
        "/api/letters?place=elsewhere&queue=x": "looks after no queues at elsewhere",
        f"/api/letters?{here}&queue=x": "there is no queue 'x'",
        f"/api/letters?{here}&queue=shop.dead&where=colour=red": "knows no field 'colour'",
        f"/api/letter?{here}&queue=shop.dead&id=x": "there is no message 'x'",
    }.items():
        answer = ask(open_one, path)
        assert answer.status == 400 and sentence in answer.value["error"]
    rate = {**meant(tmp_path), "rate": -1}
    assert "above 0" in ask(open_one, "/api/replay", rate, **JSON, **change).value["error"]
    assert ask(open_one, "/api/replay", {"colour": "red"}, **JSON, **change).status == 400
    assert ask(open_one, "/api/drop", {"place": "x" * 100_000}, **JSON, **change).status == 413


def test_a_browser_signs_in(closed_one: str, page: Page) -> None:
    from playwright.sync_api import expect

    page.goto(closed_one)
    page.get_by_label("Token").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("this is not the token")
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="shop")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="shop")).to_be_visible()


def test_a_link_signs_in_and_shows_the_token_no_longer(closed_one: str, page: Page) -> None:
    from playwright.sync_api import expect

    page.goto(f"{closed_one}/#token={TOKEN}")
    expect(page.get_by_role("heading", name="shop")).to_be_visible()
    assert "token" not in page.url


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "[::]"])
def test_beyond_this_machine_there_is_a_token(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WARREN_DASHBOARD_TOKEN", raising=False)
    at = place(f"{host}:8080")
    with pytest.raises(AddressError, match="everybody could look"):
        Access(at, None, changes=False)
    access, told = access_for(at, False)
    assert access.token is not None and told == f"/#token={access.token}" and len(access.token) >= 32
    monkeypatch.setenv("WARREN_DASHBOARD_TOKEN", TOKEN)
    access, told = access_for(at, False)
    assert access.token == TOKEN and TOKEN not in told
    monkeypatch.setenv("WARREN_DASHBOARD_TOKEN", "short")
    with pytest.raises(AddressError, match="can be guessed"):
        access_for(place(":8080"), False)
