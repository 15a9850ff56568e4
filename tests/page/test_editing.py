"""A transcript is edited in the page: by itself saved, undone, brought together with others' edits, and never lost."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest
from playwright.sync_api import Error, Locator, Page, expect

from testbed.service import PLAIN, Service
from tests.page.conftest import Troubles

SENTENCES = ["Lucy buys five blue books.", "Anna sells ten black birds on Monday.", "Tom finds six apples."]


@pytest.fixture
def talk(heard: Callable[..., str]) -> Callable[..., str]:
    """Makes finished jobs in which each of these sentences takes two seconds, said by so many people in turn."""

    def made(sentences: Sequence[str] = SENTENCES, people: int = 0) -> str:
        names = [f"SPEAKER_{n:02}" for n in range(people)]
        segments = [
            {
                "start": 2.0 * n,
                "end": 2.0 * n + 1.8,
                "text": text,
                "words": words(text, 2.0 * n),
                "flags": [],
                "language": "en",
            }
            | ({"speaker": names[n % people]} if people else {})
            for n, text in enumerate(sentences)
        ]
        speakers = {"speakers": [{"id": name, "name": name, "seconds": 2.0} for name in names]} if people else {}
        return heard(segments=segments, **speakers)

    return made


def words(text: str, start: float) -> list[dict[str, Any]]:
    return [
        {"word": f" {word}", "start": start + 0.2 * n, "end": start + 0.2 * n + 0.15, "probability": 0.9}
        for n, word in enumerate(text.split())
    ]


def transcript(service: Service, job: str) -> dict[str, Any]:
    answer = httpx.get(f"{service.url}/api/v1/jobs/{job}/transcript", verify=PLAIN)
    return dict(answer.json(), etag=answer.headers["etag"])


def texts(service: Service, job: str) -> list[str]:
    return [one["text"].strip() for one in transcript(service, job)["segments"]]


def said(page: Page, n: int) -> Locator:
    return page.locator(".said").nth(n)


def ready(page: Page) -> Page:
    page.get_by_role("button", name="Find and replace").wait_for()
    return page


def edit(page: Page) -> None:
    page.get_by_role("button", name="Edit the text").click()
    expect(page.locator(".said[contenteditable]").first).to_be_visible()


def write(page: Page, n: int, text: str) -> None:
    """Over what is there."""
    said(page, n).click()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+End")
    page.keyboard.type(text)


def saved(page: Page) -> None:
    """At once, not when somebody has not written for a while."""
    page.keyboard.press("Control+s")
    expect(page.locator(".save-state")).to_have_text("Saved")


def test_what_is_written_is_saved_and_every_step_can_be_undone(
    open_window: Callable[..., Page], service: Service, talk: Callable[..., str]
) -> None:
    job = talk()
    first, second, third = SENTENCES
    page = ready(open_window(f"{service.url}/#/jobs/{job}"))
    edit(page)
    write(page, 0, "Hello <b>big</b> world")
    # cut in two before its last word, and put together again
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(page.locator(".said")).to_have_text(["Hello <b>big</b>", "world", second, third])
    page.keyboard.press("Backspace")
    expect(page.locator(".said")).to_have_text(["Hello <b>big</b> world", second, third])
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    expect(said(page, 0)).to_have_text(first)
    for _ in range(3):
        page.keyboard.press("Control+Shift+z")
    page.keyboard.press("Control+ArrowDown")
    # where words have times, they say when the second part begins
    for _ in range(len("Anna sells")):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Starts at")).to_have_value("0:02.40")
    page.keyboard.press("Control+z")
    # times are looked at before they are taken
    page.keyboard.press("F2")
    page.keyboard.type("9:59")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("From 0:00.00 to")
    page.get_by_label("Starts at").fill("0:02,25")
    page.keyboard.press("Enter")
    # an emptied segment goes
    write(page, 2, "")
    page.keyboard.press("Delete")
    page.keyboard.press("Control+ArrowUp")
    expect(page.locator(".said")).to_have_text(["Hello <b>big</b> world", second])
    saved(page)
    page.reload()
    expect(page.locator(".said")).to_have_text(["Hello <b>big</b> world", second])
    stored = transcript(service, job)
    assert [one["text"].strip() for one in stored["segments"]] == ["Hello <b>big</b> world", second]
    assert stored["segments"][1]["start"] == 2.25
    assert "Hello <b>big</b> world" in html.unescape(service.result(job, "srt").text)
    # the original is one click away, and can be had back
    page.get_by_role("button", name="As heard").click()
    expect(page.locator(".said")).to_have_text([first, second, third])
    expect(page.locator(".differs")).to_have_count(3)
    page.get_by_role("button", name="Restore this").click()
    expect(page.get_by_role("button", name="As heard")).to_have_attribute("aria-pressed", "false")
    saved(page)
    assert texts(service, job) == [first, second, third]


def test_everything_found_is_replaced_in_one_step(
    open_window: Callable[..., Page], service: Service, talk: Callable[..., str]
) -> None:
    job = talk()
    before, word = SENTENCES, "ten"
    page = ready(open_window(f"{service.url}/#/jobs/{job}"))
    expect(said(page, 0)).to_have_text(before[0])
    page.keyboard.press("Control+f")
    page.keyboard.type(word.upper())
    expect(page.get_by_role("search").get_by_role("status")).to_contain_text("1 of")
    page.get_by_label("Match case").check()
    expect(page.get_by_role("search").get_by_role("status")).to_have_text("0 of 0")
    page.get_by_label("Regular expression").check()
    page.get_by_label("Find", exact=True).fill(rf"\b({word})\b")
    page.get_by_label("Replace by").fill("<$1> & $1")
    page.get_by_role("button", name="Replace all").click()
    after = [re.sub(rf"\b({word})\b", r"<\1> & \1", text) for text in before]
    expect(page.locator(".said")).to_have_text(after)
    page.keyboard.press("Escape")
    saved(page)
    assert texts(service, job) == after != before
    page.keyboard.press("Control+z")
    saved(page)
    expect(page.locator(".said")).to_have_text(before)
    assert texts(service, job) == before


def test_two_windows_are_brought_together_and_asked_where_both_changed_the_same(
    open_window: Callable[..., Page], service: Service, talk: Callable[..., str], troubles: Troubles
) -> None:
    job = talk()
    third = SENTENCES[2]
    one, other = (open_window(f"{service.url}/#/jobs/{job}") for _ in range(2))
    for page in (one, other):
        edit(page)
    write(one, 0, "from here")
    saved(one)
    write(other, 1, "from there")
    other.keyboard.press("Control+s")
    expect(said(other, 0)).to_have_text("from here")
    expect(other.get_by_text("1 passage was changed elsewhere, and taken over.")).to_be_visible()
    saved(other)
    assert texts(service, job) == ["from here", "from there", third]
    # the first has not heard of it yet: both at the same place
    write(one, 1, "mine")
    one.keyboard.press("Control+s")
    dialog = one.get_by_role("dialog", name="Changed elsewhere too")
    expect(dialog).to_contain_text("from there")
    expect(dialog).to_contain_text("mine")
    one.keyboard.press("Escape")
    expect(one.locator(".save-state")).to_contain_text("Changed elsewhere too")
    assert texts(service, job)[1] == "from there"
    one.get_by_role("button", name="Choose").click()
    dialog.get_by_role("radio").first.check()
    dialog.get_by_role("button", name="Keep what is chosen").click()
    saved(one)
    assert texts(service, job) == ["from here", "mine", third]
    # windows of one browser tell each other at once
    third_window = one.context.new_page()
    third_window.goto(f"{service.url}/#/jobs/{job}")
    expect(said(third_window, 1)).to_have_text("mine")
    write(one, 2, "news")
    one.keyboard.press("Control+s")
    expect(said(third_window, 2)).to_have_text("news")
    troubles.expect("412")


def test_what_the_service_could_not_take_outlives_the_page(
    open_window: Callable[..., Page], service: Service, talk: Callable[..., str], troubles: Troubles
) -> None:
    job = talk()
    second = SENTENCES[1]
    page = ready(open_window(f"{service.url}/#/jobs/{job}"))
    edit(page)
    page.context.set_offline(True)
    write(page, 0, "kept")
    expect(page.locator(".save-state")).to_contain_text("trying again")
    page.context.set_offline(False)
    saved(page)
    assert texts(service, job)[0] == "kept"
    # gone for longer than the page is open
    page.route("**/transcript", lambda route: route.abort() if route.request.method == "PUT" else route.continue_())
    write(page, 1, "kept as well")
    expect(page.locator(".save-state")).to_contain_text("trying again")
    with pytest.raises(Error, match="crash"):
        page.goto("chrome://crash")
    again = page.context.new_page()
    again.goto(f"{service.url}/#/jobs/{job}")
    expect(again.get_by_role("dialog", name="Changes that were not saved")).to_be_visible()
    assert texts(service, job)[1] == second
    again.get_by_role("button", name="Take them over").click()
    expect(said(again, 1)).to_have_text("kept as well")
    saved(again)
    assert texts(service, job)[:2] == ["kept", "kept as well"]
    again.reload()
    expect(said(again, 1)).to_have_text("kept as well")
    troubles.expect("ERR_INTERNET_DISCONNECTED", "ERR_FAILED")


def test_speakers_get_names_and_segments_and_become_one(
    open_window: Callable[..., Page], service: Service, talk: Callable[..., str]
) -> None:
    job = talk([*SENTENCES, "Two seven three."], people=2)
    page = ready(open_window(f"{service.url}/#/jobs/{job}"))
    chips = page.locator(".speaker")
    expect(chips).to_have_text(["SPEAKER_00", "SPEAKER_01"] * 2)
    chips.nth(1).click()
    page.get_by_label("Name everywhere").fill("Berta")
    page.keyboard.press("Enter")
    expect(chips).to_have_text(["SPEAKER_00", "Berta"] * 2)
    chips.nth(2).click()
    page.get_by_role("dialog", name="Speaker").get_by_role("button", name="Berta").first.click()
    expect(chips).to_have_text(["SPEAKER_00", "Berta", "Berta", "Berta"])
    saved(page)
    stored = transcript(service, job)
    assert [one["name"] for one in stored["speakers"]] == ["SPEAKER_00", "Berta"]
    assert [one["speaker"] for one in stored["segments"]] == ["SPEAKER_00"] + ["SPEAKER_01"] * 3
    page.keyboard.press("Control+z")
    expect(chips).to_have_text(["SPEAKER_00", "Berta"] * 2)
    saved(page)
    chips.nth(0).click()
    page.get_by_label("Name everywhere").fill("Berta")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="They are one").click()
    expect(chips).to_have_text(["Berta"] * 4)
    saved(page)
    stored = transcript(service, job)
    assert [one["name"] for one in stored["speakers"]] == ["Berta"]
    assert {one["speaker"] for one in stored["segments"]} == {"SPEAKER_01"}


MERGES = """async () => {
  const at = document.querySelector('script[type=module]').src.replace('main.js', 'transcript/');
  const { align, merge, settle } = await import(at + 'merging.js');
  const { retext, split, join } = await import(at + 'segments.js');
  const { newKey } = await import(at + 'model.js');
  let seed = 7;
  const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
  const make = (text, n) => ({ key: newKey(), start: n, end: n + 0.9, text, words: null, speaker: null, channel: null, translation: null, flags: [] });
  const wrong = [];
  for (let round = 0; round < 300; round++) {
    const base = Array.from({ length: 8 }, (_, n) => make(`a${n} b${n} c${n}`, n));
    const edited = (mark) => {
      let made = base;
      for (let times = random(4); times > 0; times--) {
        const n = random(made.length);
        const act = random(4);
        if (act === 0) made = made.toSpliced(n, 1, retext(made[n], `${made[n].text} ${mark}${n}`));
        else if (act === 1 && made[n].text.length > 4) made = made.toSpliced(n, 1, ...split(made[n], 3));
        else if (act === 2 && made[n + 1]) made = made.toSpliced(n, 2, join(made[n], made[n + 1]));
        else if (made[n]) made = made.toSpliced(n, 1);
      }
      return { segments: made, speakers: null };
    };
    const [mine, saved] = [edited('mine'), edited('theirs')];
    const theirs = { segments: align(base, saved.segments.map((one) => ({ ...one, key: newKey() }))), speakers: null };
    const merged = merge({ segments: base, speakers: null }, mine, theirs);
    const words = (segments) => segments.map((one) => one.text).join(' ').split(' ');
    const here = words([...settle(merged).segments, ...merged.conflicts.flatMap((one) => one.theirs)]);
    for (const word of [...words(mine.segments), ...words(theirs.segments)]) {
      const kept = words(mine.segments).includes(word) && words(theirs.segments).includes(word);
      if ((kept || /mine|theirs/.test(word)) && word && !here.includes(word)) wrong.push(`${round}: ${word}`);
    }
    if (!merged.conflicts.length) {
      const back = merge({ segments: base, speakers: null }, theirs, mine);
      if (back.conflicts.length) wrong.push(`${round}: not the same from the other side`);
    }
    const starts = settle(merged).segments.map((one) => one.start);
    if (starts.some((start, n) => n && start < starts[n - 1])) wrong.push(`${round}: out of order`);
  }
  return wrong;
}"""


def test_no_word_of_either_side_is_lost(window: Page) -> None:
    assert window.evaluate(MERGES) == []
