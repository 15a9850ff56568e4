"""Whole ways of people through the page: from files to subtitles, whatever happens on the way."""

from __future__ import annotations

import base64
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from scripts.servers import free_port
from testbed.service import Service
from tests.page.conftest import Troubles

NASTY = '<img src=x onerror=alert(1)> "it\'s" & مرحبا 🎉'
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
AWAY = ("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE")

KEPT = """(count) => new Promise((done) => {
    indexedDB.open("parascribe").onsuccess = ({target}) => {
        const look = () => {
            const asked = target.result.transaction("files").objectStore("files").count();
            asked.onsuccess = () => asked.result >= count ? (target.result.close(), done()) : setTimeout(look, 20);
        };
        look();
    };
})"""
"""Resolves when the browser has so many files for later."""
DROP = """(files) => {
  const dropped = new DataTransfer();
  for (const [name, content] of files) {
    dropped.items.add(new File([Uint8Array.from(atob(content), (it) => it.charCodeAt(0))], name, {type: 'audio/wav'}));
  }
  const target = document.querySelector('main');
  for (const type of ['dragenter', 'dragover', 'drop']) {
    target.dispatchEvent(new DragEvent(type, {bubbles: true, cancelable: true, dataTransfer: dropped}));
  }
}"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Service]:
    """A service that may be killed, and comes back where it was."""
    running = Service(tmp_path / "own", API_PORT=str(free_port())).start()
    yield running
    running.stop(signal.SIGKILL)


def drop(page: Page, *files: Path) -> None:
    page.evaluate(DROP, [(file.name, base64.b64encode(file.read_bytes()).decode()) for file in files])


def line(page: Page, name: str) -> Locator:
    return page.locator("li.job").filter(has=page.get_by_role("link", name=name, exact=True))


def test_from_three_files_to_edited_subtitles(window: Page, speech: Callable[..., Path], troubles: Troubles) -> None:
    names = [f"way {NASTY}.wav", "way two.wav", "way three.wav"]
    # the service takes out what turns the direction of the text around it
    sent = [names[0].replace("way", "way\u202e"), *names[1:]]
    window.context.set_offline(True)
    drop(window, *(speech(name, 6.0, seed=number) for number, name in enumerate(sent)))
    expect(window.get_by_text("way three.wav").first).to_be_visible()
    window.evaluate(KEPT, len(sent))  # until then the browser would ask whether one really wants to leave
    window.context.set_offline(False)
    window.reload()
    expect(window.get_by_role("main")).to_contain_text("3 done", timeout=30_000)
    window.get_by_role("button", name="3 files", exact=True).click()  # whatever was on its way has gone on
    for name in names:
        expect(line(window, name)).to_contain_text("Done", timeout=30_000)
    assert window.locator("main img").count() == 0

    line(window, names[0]).get_by_role("link", name=names[0], exact=True).click()
    expect(window.get_by_role("heading", level=1)).to_have_text(names[0])
    window.get_by_role("button", name="Edit the text", exact=True).click()
    text = window.get_by_role("textbox", name="Text at").first
    text.press("ControlOrMeta+a")
    window.keyboard.insert_text(NASTY)
    expect(window.get_by_text("Saved", exact=True)).to_be_visible(timeout=15_000)
    window.reload()
    expect(window.get_by_role("listitem").first).to_contain_text(NASTY)
    assert window.locator("main img").count() == 0

    window.get_by_role("button", name="Download", exact=True).click()
    window.get_by_label("Format").select_option("srt")
    with window.expect_download() as download:
        window.get_by_role("link", name="Download", exact=True).click()
    assert download.value.suggested_filename.endswith(".srt")
    content = Path(download.value.path()).read_text("utf-8")
    assert re.match(r"1\n\d\d:\d\d:\d\d,\d{3} --> ", content)
    # as subtitles have it: lines are broken, and players would take a tag for one
    assert "مرحبا" in content and "🎉" in content
    troubles.expect("ERR_INTERNET_DISCONNECTED")
    troubles.expect("409")  # what was under way at the reload may have to wait for itself


def test_the_service_is_killed_and_comes_back_under_open_pages(
    own: Service, open_window: Callable[..., Page], speech: Callable[..., Path], troubles: Troubles
) -> None:
    overview, page = open_window(own.url), open_window(own.url)
    expect(overview.get_by_role("heading", name="Nothing here yet")).to_be_visible()
    drop(page, speech("killed.wav", 45.0))
    expect(line(page, "killed.wav")).to_contain_text("Listening")
    line(page, "killed.wav").get_by_role("link", name="killed.wav", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("killed.wav")
    expect(line(overview, "killed.wav")).to_contain_text("Listening")
    away = overview.get_by_text("The service does not answer")
    expect(away).to_be_hidden()

    own.stop(signal.SIGKILL)
    expect(page.get_by_text("Connection lost, trying again")).to_be_visible()
    expect(away).to_be_visible()
    expect(line(overview, "killed.wav")).to_be_visible()
    own.start()
    # without a hand on it: the job goes on where it was, and so do the pages
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible(timeout=60_000)
    expect(page.get_by_role("listitem").first).to_be_visible()
    expect(line(overview, "killed.wav")).to_contain_text("Done")
    own.submit(speech("after.wav", 4.0))
    expect(line(overview, "after.wav")).to_be_visible()
    expect(away).to_be_hidden()
    troubles.expect(*AWAY)


def test_on_a_phone_without_a_network_for_a_while(
    open_window: Callable[..., Page], service: Service, speech: Callable[..., Path], troubles: Troubles
) -> None:
    page = open_window(service.url, **PHONE)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.context.set_offline(True)
    page.locator("input[type=file]").first.set_input_files(speech("on the train.wav", 6.0))
    expect(page.get_by_text("No network").first).to_be_visible()
    page.context.set_offline(False)
    expect(line(page, "on the train.wav")).to_contain_text("Done", timeout=30_000)
    line(page, "on the train.wav").get_by_role("link", name="on the train.wav", exact=True).tap()
    play = page.get_by_role("button", name="Play", exact=True)
    play.tap()
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    troubles.expect("ERR_INTERNET_DISCONNECTED")
