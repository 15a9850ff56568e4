"""The list of jobs: live, searched, many at once, batches, and what is said when there is nothing to show."""

from __future__ import annotations

import io
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Locator, Page, expect

from testbed.service import PLAIN, Service

HOSTILE = "<img src=x onerror=alert(1)> \"'& \u202egpj\u202c مقابلة 🎙️.wav"


def line(page: Page, name: str) -> Locator:
    return page.locator("li.job").filter(has=page.get_by_text(name, exact=True))


def silent(folder: Path, name: str = "silent.wav") -> Path:
    with wave.open(str(folder / name), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
    return folder / name


def find(service: Service, query: str) -> list[Any]:
    answer = httpx.get(f"{service.url}/api/v1/search", params={"q": query}, verify=PLAIN)
    return list(answer.json()["items"])


def make_batch(service: Service, name: str, *files: Path) -> str:
    answer = httpx.post(
        f"{service.url}/api/v1/batches",
        data={"metadata": f'{{"name": "{name}"}}'},
        files=[("files", (file.name, file.read_bytes())) for file in files],
        verify=PLAIN,
        timeout=60,
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def test_a_job_is_followed_to_its_end_without_reloading(
    window: Page, service: Service, speech: Callable[..., Path], tmp_path: Path
) -> None:
    expect(window.get_by_role("heading", name="Transcripts")).to_be_visible()
    job = service.submit(speech("followed.wav", 45.0))
    row = line(window, "followed.wav")
    expect(row.get_by_role("progressbar")).to_be_visible()
    expect(row).to_contain_text("Listening")
    expect(row).to_contain_text("Done")
    expect(row).to_contain_text("45 secsEnglishdemo")
    expect(row.get_by_role("progressbar")).to_have_count(0)
    expect(window.get_by_role("status").filter(has_text="followed.wav: Done")).to_have_count(1)

    service.submit(silent(tmp_path))
    expect(line(window, "silent.wav")).to_contain_text("There is no sound in the file")

    button = row.get_by_role("button", name="What to do with followed.wav")
    button.focus()
    window.keyboard.press("Enter")
    expect(window.get_by_role("menuitem", name="Open")).to_be_focused()
    window.keyboard.press("ArrowDown")
    window.keyboard.press("Enter")
    with window.expect_download() as download:
        window.get_by_role("menuitem", name="SRT", exact=True).press("Enter")
    assert download.value.suggested_filename == "followed.srt"
    expect(button).to_be_focused()
    button.press("Enter")
    window.keyboard.press("Escape")
    expect(window.get_by_role("menu")).to_have_count(0)
    expect(button).to_be_focused()

    row.get_by_role("link").click()
    window.wait_for_function("id => location.hash === `#/jobs/${id}`", arg=job["id"])


def test_search_finds_what_was_said_and_names_stay_text(
    window: Page, service: Service, speech: Callable[..., Path]
) -> None:
    job = service.submit(speech(HOSTILE, 12.0, seed=4))
    service.wait(job["id"], lambda _: bool(find(service, "gpj five")))  # a sweep later it is in the index
    segment = service.result(job["id"]).json()["segments"][1]
    said = " ".join(segment["text"].strip(" .").split()[-2:])
    window.get_by_role("searchbox").fill(f'gpj "{said}"')
    row = window.locator(f'li[data-key="{job["id"]}"]')
    expect(row.locator(".job-name")).to_have_text(job["source"]["filename"])
    expect(row.locator("mark").last).to_have_text(said)
    found = row.locator(".hits a").last
    assert found.get_attribute("href") == f"#/jobs/{job['id']}?t={segment['start']}"
    assert "q=gpj" in window.url
    assert window.locator("main img").count() == 0

    window.reload()
    expect(row.locator("mark").last).to_have_text(said)
    window.get_by_label("Status").select_option("Failed")
    expect(window.get_by_role("heading", name="Nothing found")).to_be_visible()
    window.get_by_role("button", name="Show all").click()
    expect(row).to_be_visible()
    expect(window.get_by_role("searchbox")).to_have_value("")


def test_many_are_fetched_and_deleted_at_once(window: Page, service: Service, speech: Callable[..., Path]) -> None:
    jobs = [service.submit(speech("many.wav", 4.0)) for _ in range(3)]
    for job in jobs:
        service.wait(job["id"])
    window.get_by_role("searchbox").fill("many")
    boxes = window.get_by_role("checkbox", name="Select many.wav")
    expect(boxes).to_have_count(3)
    boxes.first.click()
    boxes.last.click(modifiers=["Shift"])
    bar = window.get_by_role("region", name="What is selected")
    expect(bar).to_contain_text("3 selected")

    bar.get_by_role("button", name="Download").click()
    with window.expect_download() as download:
        window.get_by_role("menuitem", name="TXT", exact=True).click()
    with zipfile.ZipFile(download.value.path()) as made:
        assert made.testzip() is None
        assert sorted(made.namelist()) == ["many (2).txt", "many (3).txt", "many.txt"]
        assert made.read("many.txt").decode().strip() == service.result(jobs[0]["id"], "txt").text.strip()

    bar.get_by_role("button", name="Delete").click()
    asked = window.get_by_role("dialog")
    expect(asked).to_contain_text("3 recordings go")
    asked.get_by_role("button", name="Delete").click()
    expect(window.get_by_role("heading", name="Nothing found")).to_be_visible()
    expect(bar).to_be_hidden()
    assert [httpx.get(f"{service.url}/api/v1/jobs/{job['id']}", verify=PLAIN).status_code for job in jobs] == [404] * 3


def test_a_batch_is_one_line_that_unfolds(window: Page, service: Service, speech: Callable[..., Path]) -> None:
    batch_id = make_batch(service, "Physics", speech("one.wav", 5.0), speech("two.wav", 5.0, seed=2))
    row = window.locator("li.batch").filter(has_text="Physics")
    expect(row).to_contain_text("2 done")
    assert line(window, "one.wav").count() == 0
    row.get_by_role("button", name="Physics", exact=True).click()
    expect(row.locator("li.job").get_by_role("link")).to_have_text(["one.wav", "two.wav"])

    row.get_by_role("button", name="What to do with Physics").click()
    window.get_by_role("menuitem", name="Download").click()
    with window.expect_download() as download:
        window.get_by_role("menuitem", name="SRT", exact=True).click()
    with zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes())) as made:
        assert sorted(made.namelist()) == ["one.srt", "two.srt"]

    # what is deleted leaves the batch; what is looked for stands alone
    line(window, "two.wav").get_by_role("button", name="What to do").click()
    window.get_by_role("menuitem", name="Delete").click()
    window.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row.locator("li.job")).to_have_count(1)
    expect(row).to_contain_text("One file")
    window.get_by_label("Order").select_option("By name")
    expect(line(window, "one.wav")).to_be_visible()
    expect(row).to_have_count(0)
    window.get_by_label("Order").select_option("Newest first")

    row.get_by_role("button", name="What to do with Physics").click()
    window.get_by_role("menuitem", name="Delete").click()
    window.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row).to_have_count(0)
    assert httpx.get(f"{service.url}/api/v1/batches/{batch_id}", verify=PLAIN).status_code == 404


def test_a_long_list_comes_by_pages(window: Page, service: Service, tmp_path: Path) -> None:
    make_batch(service, "Long", *[silent(tmp_path, "mute.wav")] * 60)
    window.get_by_role("searchbox").fill("mute")
    rows = window.locator("li.job")
    expect(rows).to_have_count(50)
    rows.last.scroll_into_view_if_needed()
    expect(rows).to_have_count(60)
    expect(window.get_by_role("button", name="Show more")).to_have_count(0)
