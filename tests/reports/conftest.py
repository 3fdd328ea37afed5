"""A browser that opens reports, and fails a test on errors and requests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Open = Callable[..., Any]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A running browser; without one tests are skipped, but not in continuous integration."""
    if CHROMIUM is None:
        assert os.environ.get("CI") != "true", "make browser installs it"
        pytest.skip("no chromium; make browser installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def opened(chromium: Any) -> Iterator[Open]:
    """Opens a report, and waits until its charts are drawn and its rows are shown.

    After the test, the page must have sent no request, and there must be no error, no warning and no violation of its policy.
    """
    problems: list[str] = []
    contexts = []

    def open_page(path: Path, *, width: int = 1280, scheme: str = "light", charts: bool = True) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        page.on("request", lambda request: None if request.url == path.as_uri() else problems.append(request.url))
        page.add_init_script("addEventListener('securitypolicyviolation', (event) => console.error(event.violatedDirective))")
        page.goto(path.as_uri())
        page.wait_for_selector("[data-chart]:not([data-drawn])", state="detached")
        assert not charts or page.locator("[data-chart][data-drawn] svg").count() >= 1
        if page.locator("#browser").count():
            page.wait_for_selector("#browser[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []
