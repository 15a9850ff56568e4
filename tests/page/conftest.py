"""The page in a real browser, on a real service with the demo model."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

from core.jobs.job import new_id
from scripts.browsers import ARGUMENTS, CHROMIUM, find
from testbed.faults.waiting import wait_for
from testbed.service import PLAIN, Service
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


KEPT = "async () => [localStorage.length, sessionStorage.length, (await indexedDB.databases()).length]"
"""How much a place has in a browser."""


class Windows:
    """Pages of one browser. Those that were given back are lent again: a process for a new one costs a second of CPU."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.idle: dict[str, list[Page]] = {}
        self.troubles: dict[Page, Troubles] = {}

    def lend(self, troubles: Troubles, options: dict[str, Any]) -> Page:
        """One that has never been anywhere, as far as it can tell."""
        known = self.idle.get(repr(sorted(options.items())))
        page = known.pop() if known else self._new(options)
        self.troubles[page] = troubles
        return page

    def _new(self, options: dict[str, Any]) -> Page:
        context = self.browser.new_context(**options)
        context.set_default_timeout(1000 * SECONDS)
        page = context.new_page()
        watch(page, self.troubles)
        return page

    def take_back(self, page: Page, options: dict[str, Any]) -> None:
        """It forgets where it was; where it cannot, it goes."""
        context = page.context
        del self.troubles[page]
        try:
            for other in context.pages:
                if other != page:
                    other.close()
            context.set_offline(False)
            page.unroute_all(behavior="ignoreErrors")
            place = urlsplit(page.url)
            origin = f"{place.scheme}://{place.netloc}"
            page.goto(f"{origin}/favicon.ico", timeout=5000)  # whose process stays, and nothing of ours runs there
            page.evaluate("sessionStorage.clear()")
            session = context.new_cdp_session(page)
            session.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
            session.detach()
            context.clear_cookies()
            forgotten = not (any(page.evaluate(KEPT)) or context.cookies())
            page.set_viewport_size(options["viewport"])
            page.emulate_media(media="null", color_scheme="light", reduced_motion=options.get("reduced_motion", "null"))
        except Error:  # it has crashed, or the service has
            forgotten = False
        if forgotten:
            self.idle.setdefault(repr(sorted(options.items())), []).append(page)
        else:
            context.close()


_windows: dict[Browser, Windows] = {}


@pytest.fixture
def open_window(browser: Browser, troubles: Troubles) -> Iterator[Callable[..., Page]]:
    """Opens a browser of its own (cookies, storage) at an address; keywords are those of a Playwright context.

    once: nobody gets it afterwards, as what is done to it stays; cookies: it has these already
    """
    windows = _windows.setdefault(browser, Windows(browser))
    lent: list[tuple[Page, dict[str, Any], bool]] = []

    def open_one(address: str, *, once: bool = False, cookies: Sequence[Any] = (), **more: Any) -> Page:
        options = {"locale": "en-GB", "viewport": {"width": 1280, "height": 800}, **more}
        page = windows.lend(troubles, options)
        lent.append((page, options, once))
        page.context.add_cookies(cookies)
        page.goto(address)
        # it is painted before it can do anything
        page.get_by_role("heading", level=1).first.wait_for()
        return page

    yield open_one
    for page, options, once in lent:
        if once:
            page.context.close()
        else:
            windows.take_back(page, options)


def watch(page: Page, troubles: dict[Page, Troubles]) -> None:
    """Tells whoever has it at that moment."""

    def tell(what: str) -> None:
        if page in troubles:
            troubles[page].append(what)

    page.on("pageerror", lambda error: tell(f"error: {error}"))
    page.on("console", lambda said: tell(f"{said.type}: {said.text}") if said.type in ("error", "warning") else None)


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


@pytest.fixture(scope="package")
def first_talk(service: Service, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A job that has really been done, with times of words."""
    from testbed import audio_bank

    path = audio_bank.write(tmp_path_factory.mktemp("talk") / "talk.wav", audio_bank.speech(8 / 60)[0])
    job = service.wait(service.submit(path, word_timestamps=True)["id"])
    assert job["status"] == "completed", job
    sound = f"{service.url}/api/v1/jobs/{job['id']}/audio?format=opus"

    def kept() -> bool:
        return httpx.get(sound, headers={"Range": "bytes=0-0"}, timeout=60, verify=PLAIN).status_code == 206

    wait_for(kept, 120)  # else each copy's is made anew, and answers 409 for as long as that takes to begin
    return str(job["id"])


@pytest.fixture
def heard(service: Service, first_talk: str) -> Callable[..., str]:
    """A finished job of one's own: the same recording and text as all others have, without the work."""

    def copied(**changes: Any) -> str:
        """changes: of its result; what a demo model would never say"""
        job_id, folder = new_id(), service.folder / "data/objects/jobs"
        shutil.copytree(folder / first_talk, folder / job_id)
        (stored,) = (folder / job_id).glob("result.*.json")
        stored.write_text(json.dumps(json.loads(stored.read_text("utf-8")) | changes), "utf-8")
        with closing(sqlite3.connect(service.folder / "data/parascribe.db", timeout=30)) as database, database:
            database.row_factory = sqlite3.Row
            for table, owner in (("job", "id"), ("task", "job_id")):
                for row in database.execute(f"SELECT * FROM {table} WHERE {owner} = ?", (first_talk,)).fetchall():
                    its = [it.replace(first_talk, job_id) if isinstance(it, str) else it for it in row]
                    database.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(its))})", its)
        return job_id

    return copied
