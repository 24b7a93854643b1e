"""A real Chromium, for pages that people look at."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.brokers.installation import Unavailable, inside, unpacked
from tests.brokers.plugin import refuse

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATIENCE = 20.0


def installed(folder: Path) -> str:
    """Debian's, as installed, or else as unpacked into a folder of our own, where a script in `folder` runs it."""
    if os.environ.get("WARREN_UNPACK") is None and (found := shutil.which("chromium")) is not None:
        return found
    try:
        root = unpacked("Chromium", "bookworm", "chromium", "fonts-dejavu-core")
    except Unavailable as reason:
        refuse(reason)
    script = folder / "chromium"
    # What Playwright writes for it is in /tmp.
    command = shlex.join(inside(root, Path("/tmp"), "sh", "-c", 'mount --bind /node /tmp; exec chromium "$@"', "chromium"))
    script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    script.chmod(0o755)
    return str(script)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Debian's; Playwright downloads nothing."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = installed(tmp_path_factory.mktemp("browser"))
    sync_api.expect.set_options(timeout=PATIENCE * 1000)
    with sync_api.sync_playwright() as playwright:
        # Its sandbox needs rights that a container seldom gives; the pages are our own.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page at desktop size; a script that fails, or is kept from running, fails the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE * 1000)
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if "Content Security Policy" in said.text else None)
    yield page
    context.close()
    assert not problems
