"""The page in a real browser, on a real service with the demo model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from scripts.browsers import ARGUMENTS, CHROMIUM, find
from testbed.service import Service
from tests.skipping import skip_on_a_laptop

SECONDS = 40.0
"""For what a person would wait for a moment: three such browsers share two cores here with all other tests."""
expect.set_options(timeout=1000 * SECONDS)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """For no longer than these tests: its driver keeps an event loop running, and tests of other folders run their own."""
    program = find(CHROMIUM)
    if program is None:
        skip_on_a_laptop("Chromium is not installed (python -m scripts.browsers)")
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all tests that leave others' jobs alone."""
    running = Service(tmp_path_factory.mktemp("page"), URL_INGEST="true").start()
    yield running
    running.stop()


class Troubles(list[str]):
    """What a browser complained of: a page that works says nothing. Tests that break things take out what they expect."""

    def expect(self, *parts: str) -> None:
        self[:] = [one for one in self if not any(part in one for part in parts)]


@pytest.fixture
def troubles() -> Iterator[Troubles]:
    found = Troubles()
    yield found
    assert found == []


@pytest.fixture
def open_window(browser: Browser, troubles: Troubles) -> Iterator[Callable[..., Page]]:
    """Opens a browser of its own (cookies, storage) at an address; keywords are those of a Playwright context."""
    contexts: list[BrowserContext] = []

    def open_one(address: str, **options: Any) -> Page:
        context = browser.new_context(**{"locale": "en-GB", "viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        context.set_default_timeout(1000 * SECONDS)
        page = context.new_page()
        watch(page, troubles)
        page.goto(address)
        # it is painted before it can do anything
        page.get_by_role("heading", level=1).first.wait_for()
        return page

    yield open_one
    for context in contexts:
        context.close()


def watch(page: Page, troubles: Troubles) -> None:
    page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
    page.on(
        "console",
        lambda said: troubles.append(f"{said.type}: {said.text}") if said.type in ("error", "warning") else None,
    )


@pytest.fixture
def window(open_window: Callable[..., Page], service: Service) -> Page:
    """The page of the shared service, in a browser that has never been there."""
    return open_window(service.url)


@pytest.fixture
def speech(tmp_path: Path) -> Callable[..., Path]:
    """Files of speech by name and seconds."""
    from testbed import audio_bank

    def made(name: str, seconds: float = 8.0, **spec: Any) -> Path:
        samples, _ = audio_bank.speech(seconds / 60, **spec)
        return audio_bank.write(tmp_path / name, samples)

    return made
