"""Files on their way from a browser: dropped, cut off, gone on with, and refused."""

from __future__ import annotations

import hashlib
import shutil
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import CDPSession, Page, expect

from testbed.service import PLAIN, Service
from tests.page.conftest import Troubles

NAMES = ('<img src=x onerror="alert(1)">.wav', "שלום 🎙️ <b>&amp;.wav", 'It\'s "quoted", twice.wav')
FORGET = """() => new Promise((done) => {
    indexedDB.open("parascribe").onsuccess = ({target}) => {
        const change = target.result.transaction("files", "readwrite");
        change.objectStore("files").clear();
        change.oncomplete = () => done();
    };
})"""


def _get(service: Service, path: str) -> Any:
    return httpx.get(f"{service.url}/api/v1/{path}", verify=PLAIN).json()


def _drop(page: Page, path: Path) -> None:
    """As a hand would: the browser reads the folder itself."""
    session = page.context.new_cdp_session(page)
    dragged = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 600, "y": 700, "data": dragged})


def _wait_for(find: Callable[[], Any], page: Page) -> Any:
    """What the service has, once it has it; the page goes on meanwhile."""
    for _ in range(400):
        if found := find():
            return found
        page.evaluate("() => new Promise((done) => setTimeout(done, 25))")
    pytest.fail("the service has not got it")


def test_a_dropped_folder_becomes_a_batch_whatever_its_files_are_called(
    window: Page, service: Service, speech: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "a <b>folder"
    (folder / "in" / "it").mkdir(parents=True)
    talk = speech("talk.wav", seconds=4)
    for place, name in zip((".", "in", "in/it"), NAMES, strict=True):
        shutil.copy(talk, folder / place / name)
    (folder / "in" / "notes.txt").write_text("not a recording")
    _drop(window, folder)
    expect(window.get_by_text("One file was left out")).to_be_visible()

    def completed() -> Any:
        named = [one for one in _get(service, "batches")["items"] if one["metadata"] == {"name": folder.name}]
        return [batch for batch in named if batch["status"] == "completed"]

    [batch] = _wait_for(completed, window)
    jobs = _get(service, f"batches/{batch['id']}/items")["items"]
    assert {job["source"]["filename"] for job in jobs} == set(NAMES)
    assert all(job["status"] == "completed" and job["params"]["word_timestamps"] for job in jobs)


def test_a_file_goes_on_where_it_was(
    open_window: Callable[..., Page], service: Service, tmp_path: Path, troubles: Troubles
) -> None:
    window = open_window(service.url, once=True)
    # more than fits between browser and service: what is in there is sent, however slow the line
    file = silent(tmp_path / "long talk.wav", minutes=10)
    begun: list[str] = []
    window.on("request", lambda sent: begun.append(sent.url) if sent.url.endswith("/uploads") else None)
    line, entry = _line(window), window.locator(".upload-entry")
    window.locator("input[type=file]").first.set_input_files(file)
    expect(entry).to_contain_text("/s")
    line(None)
    expect(entry).to_contain_text("No network")
    expect(entry.get_by_role("progressbar")).not_to_have_attribute("value", "0")
    line(0.2)
    expect(entry).to_contain_text("/s")
    entry.get_by_role("button", name="Pause").click()
    expect(entry).to_contain_text("Paused")

    window.reload()  # it is kept, and goes on when it is told to
    expect(entry).to_contain_text("Paused")
    entry.get_by_role("button", name="Go on").click()
    expect(entry).to_contain_text("/s")

    window.evaluate(FORGET)  # as if there had been no room for the file itself
    window.reload()
    expect(entry).to_contain_text("Choose the same file again")
    line(100)
    window.locator("input[type=file]").first.set_input_files(file)
    expect(entry).to_have_count(0)
    assert len(begun) == 1
    [job] = [job for job in _get(service, "jobs")["items"] if job["source"]["filename"] == file.name]
    stored = _wait_for(lambda: service.job(job["id"])["audio"]["sha256"], window)
    assert stored == hashlib.sha256(file.read_bytes()).hexdigest()
    httpx.delete(f"{service.url}/api/v1/jobs/{job['id']}", verify=PLAIN)
    troubles.expect("ERR_INTERNET_DISCONNECTED", "423", "409")


def silent(path: Path, minutes: int) -> Path:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(bytes(60 * minutes * 32_000))
    return path


def _line(page: Page) -> Callable[[float | None], None]:
    """A slow line, and another speed for it: megabytes a second, or None where there is no network."""
    session: CDPSession = page.context.new_cdp_session(page)

    def at(speed: float | None) -> None:
        conditions = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": 1e6 * (speed or 0)}
        session.send("Network.emulateNetworkConditions", {"offline": speed is None, **conditions})

    session.send("Network.enable")
    at(0.2)
    return at


def test_what_is_refused_is_said_at_its_field_and_put_right(
    window: Page, service: Service, speech: Callable[..., Path], troubles: Troubles
) -> None:
    window.evaluate("""localStorage.setItem("parascribe.options", '{"diarize":true,"num_speakers":99}')""")
    window.reload()
    window.locator("input[type=file]").first.set_input_files(speech("refused.wav", seconds=4))
    field = window.locator(".field", has_text="How many people speak")
    expect(field.get_by_role("alert")).to_contain_text("less than or equal to 20")
    expect(window.locator(".upload-entry")).to_contain_text("Options were refused")
    field.get_by_role("spinbutton").fill("1")
    window.get_by_role("button", name="Try refused.wav again").click()
    expect(window.locator(".upload-entry")).to_have_count(0)
    window.get_by_label("Model", exact=True).select_option("tiny.en")
    expect(window.get_by_label("Translate to English")).to_be_disabled()
    expect(window.locator(".field", has_text="Translate to English")).to_contain_text("tiny.en cannot translate")
    beside = window.get_by_label("Translation beside the text")
    expect(beside).to_be_disabled()
    expect(window.locator(".field", has=beside)).to_contain_text("Nothing here translates that")
    expect(window.locator(".options summary")).to_contain_text("tiny.en")
    window.reload()
    expect(window.locator(".options summary")).to_contain_text("Tell speakers apart · tiny.en")
    window.get_by_text("Options").click()
    window.get_by_role("button", name="Back to the defaults").click()
    expect(window.locator(".options summary")).to_contain_text("as usual")
    expect(beside.get_by_role("option")).to_have_text(["None", "English"])
    [job] = [job for job in _get(service, "jobs")["items"] if job["source"]["filename"] == "refused.wav"]
    assert job["params"]["num_speakers"] == 1
    window.get_by_role("button", name="From an address").click()
    window.get_by_label("From an address").last.fill("http://127.0.0.1/talk.mp3")
    window.get_by_role("button", name="Fetch it").click()
    expect(window.get_by_role("alert").filter(has_text="127.0.0.1")).to_be_visible()
    troubles.expect("422", "400")
