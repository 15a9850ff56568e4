"""Speaking into the page: text while somebody speaks, a transcript in the end, and what is said where that cannot be."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from benchmarks.score import score
from core.keys import ADMIN, key_of, new_token
from core.store.database import open_database
from core.store.sql import SqlStore
from scripts.browsers import ARGUMENTS, CHROMIUM, find
from testbed import audio_bank
from testbed.faults.proxy import FaultProxy
from testbed.service import PLAIN, Service, running
from tests.page.conftest import Troubles
from tests.page.test_accessible import look_at

TRANSLATION = Path(__file__).parents[1] / "data" / "translation"


KEY = new_token()


@dataclass(frozen=True, kw_only=True)
class Talk:
    """said: its sentences, each with `text` and `text_en`"""

    path: Path
    said: list[dict[str, Any]]

    def errors(self, heard: str, name: str = "text") -> float:
        """Share of words that are wrong, missing or too many."""
        return score({"utterances": [{"start": None, "text": one[name]} for one in self.said]}, heard).wer


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Talk:
    """What the microphone hears: seven seconds without a pause that would end an utterance, then a sentence; then silence."""
    parts = [audio_bank.speech(n / 60, seed=seed, lang="de", gap=(0.1, 0.2)) for n, seed in ((8, 13), (4, 4))]
    pcm = np.concatenate([part for part, _ in parts])
    path = audio_bank.write(tmp_path_factory.mktemp("talk") / "talk.wav", pcm)
    return Talk(path=path, said=[one for _, truth in parts for one in truth["utterances"]])


@pytest.fixture(scope="module")
def browser(browser: Browser, talk: Talk) -> Iterator[Browser]:
    """Another one, whose microphone hears the talk from its beginning each time that somebody listens."""
    heard = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={talk.path}%noloop"]
    elsewhere = "--host-resolver-rules=MAP speak.example 127.0.0.1"
    started = browser.browser_type.launch(executable_path=find(CHROMIUM), args=[*ARGUMENTS, *heard, elsewhere])
    yield started
    started.close()


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory, talk: Talk) -> Iterator[Service]:
    """A service with a key, and room for one stream, whose engine has begun: nobody is to speak for nothing meanwhile."""
    folder, models = tmp_path_factory.mktemp("listening"), str(TRANSLATION)
    live = {"LIVE_ENABLED": "true", "MAX_LIVE_STREAMS": "1"}
    with running(folder, **live, TRANSLATION_MODELS_DIR=models) as service:
        service.wait(service.submit(talk.path, translate_to="en")["id"])
        store = SqlStore(open_database(f"sqlite:///{folder}/data/parascribe.db"))
        store.add_key(key_of(KEY, "anna", scopes=(ADMIN,)))
        store.close()
        service.wait_log("Live streams are served")
        yield service


def port(service: Service) -> int:
    return int(service.url.rpartition(":")[2])


@pytest.fixture
def line(listening: Service) -> Iterator[FaultProxy]:
    """Between browser and service."""
    with FaultProxy("127.0.0.1", port(listening)) as proxy:
        yield proxy


@pytest.fixture
def speak(listening: Service, line: FaultProxy, open_window: Callable[..., Page]) -> Callable[..., Page]:
    """Opens the place to speak as somebody who has logged in, and whose microphone may be used."""
    answer = httpx.post(f"{listening.url}/api/v1/session", headers={"X-API-Key": KEY}, verify=PLAIN)
    cookies = [{"name": name, "value": it, "domain": "127.0.0.1", "path": "/"} for name, it in answer.cookies.items()]
    usual = {"permissions": ["microphone"], "cookies": cookies}

    def opened(**options: Any) -> Page:
        page = open_window(f"http://{line.address}/#/live", **{**usual, **options})
        page.get_by_role("button", name="Start").wait_for()
        return page

    return opened


def begin(page: Page) -> None:
    page.get_by_role("button", name="Start").click()


def stop(page: Page) -> None:
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Start")).to_be_enabled()


def test_what_is_spoken_is_text_at_once_and_a_transcript_in_the_end_whatever_dies(
    speak: Callable[..., Page], listening: Service, line: FaultProxy, talk: Talk, troubles: Troubles
) -> None:
    page = speak()
    page.get_by_label("Translation").select_option("English")
    expect(page.get_by_label("Translation").get_by_role("option")).to_have_text(["none", "English"])
    begin(page)
    page.wait_for_function(
        """() => {
          const [committed, tail] = document.querySelectorAll(".live-open p:last-child span");
          return committed?.textContent && tail?.textContent && getComputedStyle(committed).color !== getComputedStyle(tail).color;
        }"""
    )
    # what hears it dies, and the line with it: who comes back finds nobody there at first
    (process,) = listening.processes("live_main")
    os.kill(process.pid, signal.SIGKILL)
    line.set("reset")
    expect(page.get_by_text("Connection lost")).to_be_visible()
    line.set("pass")
    expect(page.get_by_text("Listening")).to_be_visible()
    expect(page.get_by_role("log")).to_contain_text(last(talk.said[-1]["text"]))
    expect(page.locator(".translation").last).to_contain_text(last(talk.said[-1]["text_en"]))
    stop(page)
    troubles.expect("net::ERR_", "WebSocket connection to")

    finals = page.get_by_role("log").get_by_role("listitem")
    shown = " ".join(finals.locator(".said").all_inner_texts())
    assert talk.errors(shown) <= 0.1
    look_at(page)
    page.get_by_role("link", name="Open it").click()
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    result = page.request.get(f"{listening.url}/api/v1/jobs/{page.url.rpartition('/')[2]}/result?format=json")
    segments = result.json()["segments"]
    assert " ".join(one["text"] for one in segments).split() == shown.split()
    assert talk.errors(" ".join(one["translation"] for one in segments), "text_en") <= 0.1


def last(sentence: str) -> str:
    return sentence.split()[-1].strip(".")


def test_who_cannot_be_heard_is_told_what_to_do(
    speak: Callable[..., Page],
    open_window: Callable[..., Page],
    listening: Service,
    line: FaultProxy,
    troubles: Troubles,
) -> None:
    refused = speak(permissions=[])
    begin(refused)
    expect(refused.get_by_role("alert")).to_contain_text("Allow it in the settings of this page")

    first, second = speak(), speak()
    first.get_by_label("Keep sound and text").uncheck()
    begin(first)
    expect(first.get_by_text("Listening")).to_be_visible()
    begin(second)
    expect(second.get_by_role("alert")).to_contain_text("As many people are speaking")
    refused.get_by_role("link", name="Administration").click()
    expect(refused.get_by_role("table", name="Consumers")).to_contain_text("1 live stream")
    stop(first)
    expect(first.get_by_role("link", name="Open it")).to_have_count(0)
    begin(second)
    expect(second.get_by_text("Listening")).to_be_visible()
    expect(second.get_by_role("alert")).to_have_count(0)
    stop(second)
    line.set("reset")
    begin(second)
    expect(second.get_by_role("alert")).to_contain_text("The service does not answer")

    plain = open_window(f"http://speak.example:{port(listening)}/#/live")
    plain.get_by_label("Key", exact=True).fill(KEY)
    plain.get_by_role("button", name="Log in").click()
    expect(plain.get_by_text("an address with https")).to_be_visible()
    troubles.expect("net::ERR_", "Cross-Origin-Opener-Policy", "401 (Unauthorized)")
