"""`python -m scripts.screenshots [--out DIR]`: the page's main states as pictures: light and dark, on a phone and a wide screen.

Starts a service of its own with the model `base`, if it is here, else with the demo model; whose speech is made, as nobody's voice
should be in the documentation.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from scripts.browsers import ARGUMENTS, CHROMIUM, find
from testbed import audio_bank
from testbed.service import Service

MODELS = Path("data/models")
NAMES = {
    "Interview Dr. Müller-Lüdenscheidt.wav": 45.0,
    "2026-11-27 Team meeting.wav": 60.0,
    "Vorlesung 07, Thermodynamik.wav": 30.0,
    "مقابلة مع الجدة.wav": 12.0,
    "podcast_ep42_final_FINAL(2).wav": 20.0,
    "Ébauche d'émission, août.wav": 12.0,
    "voice memo 17.wav": 10.0,
}
"""Seconds of speech by name of the file."""

VIEWS: dict[str, ViewportSize] = {"wide": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.screenshots", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("screenshots"), help="folder (%(default)s)")
    out: Path = parser.parse_args(arguments).out
    program = find(CHROMIUM)
    if program is None:
        print("Chromium is not installed (python -m scripts.browsers)", file=sys.stderr)
        return 1
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="parascribe-screenshots-") as folder:
        base = (MODELS / "ggml-base.bin").exists()
        models = {"WHISPER_MODEL": "base", "WHISPER_MODELS_DIR": str(MODELS.absolute())} if base else {}
        service = Service(Path(folder), MAX_CONCURRENT_JOBS="1", **models).start()
        try:
            job = _fill(service, Path(folder))
            with sync_playwright() as driver:
                browser = driver.chromium.launch(executable_path=program, args=ARGUMENTS)
                _take(browser, service.url, job, out)
                _take_keyed(browser, service, out)
                browser.close()
        finally:
            service.stop()
    return 0


def _fill(service: Service, folder: Path) -> str:
    """Jobs in all states; the id of one that has ended, with speakers and a doubtful word or two."""
    first = ""
    for number, (name, seconds) in enumerate(NAMES.items()):
        samples, _ = audio_bank.speech(seconds / 60, seed=number)
        job = service.submit(audio_bank.write(folder / name, samples), **({} if first else {"diarize": True}))
        service.wait(job["id"])
        first = first or job["id"]
    with wave.open(str(folder / "IMG_0042.wav"), "wb") as empty:
        empty.setparams((1, 2, 16_000, 0, "NONE", ""))
    service.wait(service.submit(folder / "IMG_0042.wav")["id"])
    samples, _ = audio_bank.speech(20.0)
    long = audio_bank.write(folder / "Board meeting, morning.wav", samples)
    under_way = service.submit(long)["id"]
    service.submit(long.rename(folder / "Board meeting, afternoon.wav"))
    service.wait(under_way, lambda job: job["progress"]["chunks_done"] > 0)
    return first


def _take(browser: Browser, url: str, job: str, out: Path) -> None:
    def button(name: str) -> Callable[[Page], None]:
        return lambda page: page.get_by_role("button", name=name, exact=True).click()

    def options(page: Page) -> None:
        page.get_by_text("Options", exact=True).click()
        page.get_by_role("combobox").nth(5).wait_for()

    states: dict[str, tuple[str, Callable[[Page], None]]] = {
        "list": ("#/", lambda page: None),
        "options": ("#/", options),
        "transcript": (f"#/jobs/{job}?t=6", lambda page: None),
        "editing": (f"#/jobs/{job}", button("Edit the text")),
        "download": (f"#/jobs/{job}", button("Download")),
        "settings": ("#/settings", lambda page: None),
        "administration": ("#/admin", lambda page: None),
        "nowhere": ("#/nowhere", lambda page: None),
    }
    for view, size in VIEWS.items():
        for scheme in ("light", "dark"):
            context = browser.new_context(
                viewport=size, color_scheme=scheme, locale="en-GB", device_scale_factor=1.5 if view == "phone" else 1
            )
            for name, (address, act) in states.items():
                page = context.new_page()
                page.goto(f"{url}/{address}")
                page.get_by_role("heading", level=1).wait_for()
                act(page)
                _shoot(page, out / f"{name}-{view}-{scheme}.png")
                page.close()
            context.close()


def _take_keyed(browser: Browser, service: Service, out: Path) -> None:
    """From the first key on there is a place to log in."""
    command = [sys.executable, "-m", "parascribe", "keys", "create", "root", "--scope", "admin"]
    subprocess.run(command, env={**os.environ, **service.env}, check=True, stdout=subprocess.DEVNULL)
    time.sleep(2.0)  # until it is known everywhere
    page = browser.new_page(viewport=VIEWS["wide"], locale="en-GB")
    page.goto(f"{service.url}/#/login")
    page.get_by_label("Key", exact=True).wait_for()
    _shoot(page, out / "login-wide-light.png")
    page.close()


def _shoot(page: Page, path: Path) -> None:
    page.wait_for_timeout(700)  # for what fades in, and for the sound's shape
    page.screenshot(path=path)
    print(path, flush=True)


if __name__ == "__main__":
    sys.exit(main())
