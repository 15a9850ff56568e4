"""The view of one transcript: it grows, is heard, is read however long it is, and taken away."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Locator, Page, Route, expect

from testbed.service import PLAIN, Service
from tests.page.conftest import Troubles

NASTY = "<img src=x onerror=alert(1)> \"שלום\" 🎉 & 'مرحبا'"


def show(page: Page, job_id: str, **query: str) -> Locator:
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    page.evaluate("place => { location.hash = place }", f"#/jobs/{job_id}" + (f"?{asked}" if asked else ""))
    expect(page.locator(".dock .play")).to_be_visible()
    return page.locator(".segment")


def spoken(text: str, start: float, **more: Any) -> dict[str, Any]:
    said = text.split(" ")
    step = 2.0 / len(said)
    words = [
        {
            "word": word,
            "start": round(start + n * step, 3),
            "end": round(start + (n + 1) * step, 3),
            "probability": 0.99,
        }
        for n, word in enumerate(said)
    ]
    return {"start": start, "end": start + 2.0, "text": text, "words": words, "flags": [], "language": "en"} | more


def test_a_word_is_heard_and_the_text_goes_along(window: Page, heard: Callable[..., str]) -> None:
    rows = show(window, heard())
    word = rows.nth(1).locator(".word").nth(2)
    word.click()
    audio = window.locator("audio")
    expect(window.get_by_role("button", name="Pause")).to_be_visible()
    expect(rows.nth(1)).to_have_class("segment same spoken")
    # it goes on by itself, and the mark with it
    window.wait_for_function("() => Number(document.querySelector('.word.spoken').dataset.n) > 2")
    window.keyboard.press(">")
    assert audio.evaluate("audio => [audio.playbackRate, audio.preservesPitch]") == [1.25, True]
    window.keyboard.press(" ")
    expect(window.get_by_role("button", name="Play", exact=True)).to_be_visible()

    slider = window.get_by_role("slider", name="Place in the recording")
    slider.press("Home")
    expect(slider).to_have_attribute("aria-valuetext", "0:00 of 0:08")
    slider.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuenow", "5")
    box = slider.bounding_box()
    assert box is not None
    slider.click(position={"x": box["width"] / 4, "y": 10})
    expect(slider).to_have_attribute("aria-valuenow", "2")
    window.keyboard.press("?")
    expect(window.get_by_role("dialog")).to_contain_text("5 seconds back, on")
    window.keyboard.press("Escape")
    window.evaluate("location.hash = location.hash.split('?')[0] + '?t=6.5'")
    expect(window.locator(".clock")).to_have_text("0:06 / 0:08")


def test_a_job_grows_into_its_transcript(window: Page, service: Service, speech: Callable[..., Path]) -> None:
    before = [service.submit(speech(f"{n}.wav"))["id"] for n in range(2)]
    job = service.submit(speech("waits.wav", 24), chunk_duration=6, word_timestamps=True)
    window.evaluate("place => { location.hash = place }", f"#/jobs/{job['id']}")
    expect(window.locator(".dock progress")).to_be_visible()
    window.evaluate(
        """() => {
            window.grown = new Set();
            const look = () => document.querySelector("progress") && window.grown.add(document.querySelectorAll(".segment").length);
            new MutationObserver(look).observe(document.querySelector(".segments"), { childList: true });
            document.querySelector("h1").dataset.same = "yes";
        }"""
    )
    expect(window.get_by_role("button", name="Play", exact=True)).to_be_visible(timeout=60_000)
    assert len(window.evaluate("[...window.grown]")) > 1, "it came all at once"
    expect(window.locator("h1")).to_have_attribute("data-same", "yes")
    expect(window.get_by_role("progressbar")).to_have_count(0)
    for other in before:
        service.wait(other)


def test_ten_hours_are_as_light_as_ten_minutes(window: Page, heard: Callable[..., str], troubles: Troubles) -> None:
    window.route(
        "**/audio?*", lambda route: route.fulfill(status=410)
    )  # its sound lasts seconds, and would end each jump there
    count = 10_000
    segments = [spoken(f"segment {n} has ten words in it, as they come", n * 3.6) for n in range(count)]
    job_id = heard(segments=segments, duration=36_000.0)
    window.evaluate("place => { location.hash = place }", f"#/jobs/{job_id}")
    expect(window.locator(".dock .play")).to_be_visible(timeout=60_000)  # 16 MB of JSON
    rows = window.locator(".segment")
    expect(rows.first).to_contain_text("segment 0 has")
    expect(rows.first).to_have_attribute("aria-setsize", str(count))
    rows.first.get_by_role("button").first.focus()
    for t, n in (("35997", count - 1), ("18000", count // 2), ("0", 0)):
        window.evaluate("t => { location.hash = location.hash.split('?')[0] + '?t=' + t }", t)
        row = window.locator(f'.segment[aria-posinset="{n + 1}"]')
        expect(row).to_contain_text(f"segment {n} has")
        expect(row).to_be_in_viewport()
        assert rows.count() < 200
    # what is read stays where it is, though rows above turn out to be of another height than was guessed
    window.evaluate("scrollTo({ top: 200000, behavior: 'instant' })")
    expect(rows.nth(1)).to_have_attribute("aria-posinset", re.compile("[0-9]{4}"))
    expect(rows.first.get_by_role("button").first).to_be_focused()  # who was there still is
    moved = window.evaluate(
        """async () => {
            const frame = () => new Promise(requestAnimationFrame);
            await frame(), await frame();
            let worst = 0;
            for (let n = 0; n < 8; n++) {
                const row = document.elementFromPoint(600, 300).closest(".segment");
                const before = row.getBoundingClientRect().top;
                scrollBy({ top: -90, behavior: "instant" });
                await frame(), await frame();
                worst = Math.max(worst, Math.abs(row.getBoundingClientRect().top - before - 90));
            }
            return worst;
        }"""
    )
    assert moved < 2
    troubles.expect("410")


def test_what_is_doubtful_missing_or_nasty_is_shown_as_it_is(
    open_window: Callable[..., Page], service: Service, heard: Callable[..., str]
) -> None:
    doubtful = spoken("Lucy buys two dogs", 2.2, speaker="B", flags=["repetition"])
    doubtful["words"][2]["probability"] = 0.2
    job_id = heard(
        segments=[
            spoken(NASTY, 0.0, speaker="A", translation="Übersetzt <b>"),
            doubtful,
            {
                "start": 6.0,
                "end": 7.5,
                "text": "مرحبا بالعالم",
                "words": [],
                "flags": [],
                "language": "ar",
                "speaker": "A",
            },
        ],
        speakers=[{"id": "A", "name": NASTY, "seconds": 3.5}, {"id": "B", "name": "Björn", "seconds": 2.0}],
        translation={"language": "de", "provider": "x"},
        gaps=[{"start": 4.5, "end": 5.7, "reason": "no_text"}],
        warnings=[
            {"code": code, "message": f"{code} <i>"} for code in ("language_unsure", "no_split_yet", "mixed_languages")
        ],
    )
    page = open_window(f"{service.url}/#/jobs/{job_id}", permissions=["clipboard-read", "clipboard-write"])
    rows = page.locator(".segment")
    expect(rows.first.locator(".said")).to_have_text(NASTY)
    expect(rows.first.locator(".speaker")).to_have_text(NASTY)
    expect(rows.first.locator(".translation")).to_have_text("Übersetzt <b>")
    assert rows.nth(2).locator(".said").evaluate("said => getComputedStyle(said).direction") == "rtl"
    expect(page.locator(".text img, .text b")).to_have_count(0)
    expect(rows.nth(1)).to_contain_text("Repeats itself")
    expect(rows.nth(2).locator(".gap")).to_contain_text("0:04 – 0:05")

    page.get_by_text("3 remarks on this transcript").click()
    expect(page.locator(".warnings")).to_contain_text("no_split_yet <i>")
    page.keyboard.press("n")
    expect(page.locator(".word:focus")).to_have_text("two")
    page.keyboard.press("Enter")
    expect(page.locator(".word.spoken")).to_have_text("dogs")
    page.keyboard.press(" ")
    page.get_by_role("button", name="Doubtful words").click()
    assert page.locator(".doubtful").evaluate("word => getComputedStyle(word).textDecorationLine") == "none"
    rows.nth(2).get_by_role("button", name="Listen").click()
    expect(page.locator(".clock")).to_contain_text("0:05 / ")

    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Text with speakers").click()
    expect(page.get_by_role("status").get_by_text("The text is copied.")).to_be_visible()
    assert f"{NASTY}: {NASTY}\n\nBjörn: Lucy buys two dogs\n\n" in page.evaluate("navigator.clipboard.readText()")

    page.get_by_role("button", name="Download").click()
    expect(page.locator(".preview")).to_contain_text("00:00:02,200 -->")
    page.get_by_label("Letters per line").fill("12")
    expect(page.locator(".preview")).to_contain_text("00:00:02,2")
    expect(page.get_by_role("link", name="Download")).to_have_attribute("href", re.compile("max_line_width=12"))
    address = page.get_by_role("link", name="Download").get_attribute("href")
    lines = httpx.get(str(address), verify=PLAIN).text.splitlines()
    assert "two dogs" in lines and all(len(line) <= 14 or "-->" in line for line in lines)


def test_where_there_is_no_transcript_it_says_what_to_do(
    window: Page, service: Service, tmp_path: Path, troubles: Troubles
) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(40))
    job = service.submit(broken)
    service.wait(job["id"])
    window.evaluate("place => { location.hash = place }", f"#/jobs/{job['id']}")
    expect(window.get_by_role("heading", name="This could not be transcribed")).to_be_visible()
    window.get_by_role("button", name="Try again").click()
    window.wait_for_function("id => !location.hash.includes(id)", arg=job["id"])
    expect(window.get_by_role("heading", name="This could not be transcribed")).to_be_visible()
    window.evaluate("location.hash = '#/jobs/0198f3c2-0000-7000-8000-000000000000'")
    expect(window.get_by_role("heading", name="There is no such transcript")).to_be_visible()
    expect(window.get_by_role("link", name="All transcripts")).to_be_visible()
    troubles.expect("404")


def test_sound_is_waited_for_and_missed_politely(window: Page, heard: Callable[..., str], troubles: Troubles) -> None:
    job_id = heard()
    answers = iter((409, 200, 206, 410))

    def sound(route: Route) -> None:
        headers = route.request.headers
        status = next(answers) if headers.get("range") == "bytes=0-0" else 206
        if status == 200:  # as it is while it is made
            route.continue_(headers={name: value for name, value in headers.items() if name != "range"})
        elif status == 206:
            route.continue_()
        else:
            route.fulfill(
                status=status, headers={"Retry-After": "1"}, json={"code": "not_ready" if status == 409 else "expired"}
            )

    window.route("**/audio?format=opus", sound)
    show(window, job_id, t="5")
    expect(window.locator(".note")).to_have_text("Getting the sound ready…")
    expect(window.locator(".note")).to_have_text("")
    window.wait_for_function("() => document.querySelector('audio').currentTime === 5")
    window.reload()
    expect(window.locator(".note")).to_have_text("The recording has been removed; the text stays.")
    expect(window.get_by_role("button", name="Play", exact=True)).to_be_disabled()
    expect(window.locator(".segment").first).to_be_visible()
    troubles.expect("409", "410")
