"""For everybody: what axe-core finds of each view and state, each by keyboard alone, on a narrow screen, and without motion."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Locator, Page, ViewportSize, expect

from testbed.service import Service

PHONE: ViewportSize = {"width": 360, "height": 740}
WIDE: ViewportSize = {"width": 1280, "height": 800}
AXE = """async (rules) => {
  const found = await axe.run(document, rules.length ? {runOnly: {type: 'rule', values: rules}} : {});
  return found.violations
    .filter((it) => ['serious', 'critical'].includes(it.impact))
    .flatMap((it) => it.nodes.map((node) => `${it.id}: ${node.html.slice(0, 160)}: ${node.any.concat(node.all)[0]?.message}`));
}"""
REACHABLE = """() => {
  const root = document.querySelector('dialog:modal') ?? document;
  // in the text that is edited Tab goes from segment to segment, and F2 to its times
  const typing = document.activeElement?.isContentEditable ? '.segment button' : 'nothing';
  const all = [...root.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]')];
  const groups = new Set();
  return all.filter((it) => {
    if (it.tabIndex < 0 || it.disabled || it.closest('[inert]') || it.matches(typing) || !it.checkVisibility({visibilityProperty: true})) return false;
    if (it.type !== 'radio') return true;
    return !groups.has(it.name) && groups.add(it.name); // one stop for all; the arrows do the rest
  }).map((it, n) => (it.setAttribute('data-stop', n), n));
}"""
STOP = """() => {
  const it = document.activeElement;
  const one = it?.type === 'radio' ? document.querySelector(`[type=radio][name="${CSS.escape(it.name)}"][data-stop]`) : it;
  return Number(one?.dataset?.stop ?? -1);
}"""
SMALL = """() => [...document.querySelectorAll('button, select, summary, nav a')].filter((it) => {
  const {width, height} = it.getBoundingClientRect();
  if (width <= 1 || !it.checkVisibility({visibilityProperty: true, opacityProperty: true})) return false;
  if (it.closest('.segment')) return height < 24; // in a line of text: WCAG 2.2, 2.5.8
  return width < 39.5 || height < 39.5;
}).map((it) => `${it.outerHTML.slice(0, 120)} ${it.getBoundingClientRect().width} × ${it.getBoundingClientRect().height}`)"""
WIDER = """() => document.scrollingElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll('main *')]
  .filter((it) => it.checkVisibility() && it.getBoundingClientRect().right > innerWidth + 1).map((it) => it.outerHTML.slice(0, 120))"""
MOVES = """() => [...document.querySelectorAll('*')].filter((it) => {
  const {animationName, animationDuration, transitionDuration} = getComputedStyle(it);
  const long = (times) => times.split(',').some((time) => parseFloat(time) * (time.trim().endsWith('ms') ? 0.001 : 1) > 0.02);
  return (animationName !== 'none' && long(animationDuration)) || long(transitionDuration);
}).map((it) => it.outerHTML.slice(0, 120))"""


def silence(folder: Path) -> Path:
    path = folder / "Aufnahme 17.wav"
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 16_000, 0, "NONE", ""))
    return path


@pytest.fixture(scope="module")
def filled(service: Service, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Jobs by what became of them; with names as people's files have them."""
    from testbed import audio_bank

    folder = tmp_path_factory.mktemp("accessible")
    talk, _ = audio_bank.speech(0.3, seed=3)
    made = service.submit(audio_bank.write(folder / "Interview Frau Dr. Müller-Lüdenscheidt (2024-03-01).wav", talk))
    failed = service.submit(silence(folder))
    service.wait(made["id"]), service.wait(failed["id"])
    return {"completed": made["id"], "failed": failed["id"]}


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def the_list(page: Page) -> None:
    expect(page.get_by_role("link", name="Interview Frau Dr.")).to_be_visible()


def the_menu(page: Page) -> None:
    page.get_by_role("button", name="What to do with Interview Frau").click()
    expect(page.get_by_role("menuitem", name="Open")).to_be_visible()


def some_chosen(page: Page) -> None:
    page.get_by_role("checkbox", name="Select Interview").check()
    expect(page.get_by_text("1 selected")).to_be_visible()


def the_options(page: Page) -> None:
    page.get_by_text("Options", exact=True).click()
    expect(page.get_by_role("combobox").nth(4)).to_be_visible()


def the_transcript(page: Page) -> None:
    expect(button(page, "Play")).to_be_visible()
    expect(page.get_by_role("listitem").first).to_be_visible()


def the_keys(page: Page) -> None:
    the_transcript(page)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()


def the_download(page: Page) -> None:
    button(page, "Download").click()
    expect(page.get_by_label("Letters per line")).to_be_visible()


def the_editing(page: Page) -> None:
    button(page, "Edit the text").click()
    expect(page.get_by_role("textbox").first).to_be_visible()


def the_finding(page: Page) -> None:
    button(page, "Find and replace").click()
    expect(page.get_by_label("Replace by")).to_be_visible()


def the_rest(page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_be_visible()


PLACES: dict[str, tuple[str, Callable[[Page], None]]] = {
    "list": ("#/", the_list),
    "menu of a job": ("#/", the_menu),
    "jobs that are chosen": ("#/", some_chosen),
    "options of an upload": ("#/", the_options),
    "transcript": ("#/jobs/{completed}", the_transcript),
    "keys of the keyboard": ("#/jobs/{completed}", the_keys),
    "download": ("#/jobs/{completed}", the_download),
    "editing": ("#/jobs/{completed}", the_editing),
    "finding": ("#/jobs/{completed}", the_finding),
    "failed": ("#/jobs/{failed}", the_rest),
    "nowhere": ("#/nowhere", the_rest),
    "settings": ("#/settings", the_rest),
}


@pytest.mark.parametrize("place", PLACES)
def test_everybody_can_use(
    place: str, open_window: Callable[..., Page], service: Service, filled: dict[str, str]
) -> None:
    address, reach = PLACES[place]
    page = open_window(f"{service.url}/{address.format(**filled)}", viewport=WIDE, reduced_motion="reduce")
    reach(page)
    look_at(page)


def look_at(page: Page) -> None:
    """All that can be looked at by a machine, in one go: each view is opened once."""
    assert page.title()
    page.evaluate(AXE_SCRIPT)
    found: dict[str, Any] = {"moving, though that is not wanted here": page.evaluate(MOVES)}
    walk = walked(page)
    # a menu is gone when one leaves it, and its items with it
    found["not reached by Tab"] = page.evaluate(
        "(left) => left.map((n) => document.querySelector(`[data-stop='${n}']`)?.outerHTML.slice(0, 160)).filter(Boolean)",
        walk,
    )
    found["light"] = page.evaluate(AXE, [])
    page.set_viewport_size(PHONE)
    found["phone"] = page.evaluate(AXE, [])
    found["too wide for it"] = page.evaluate(WIDER)
    found["too small for a finger"] = page.evaluate(SMALL)
    page.emulate_media(color_scheme="dark")
    found["dark"] = page.evaluate(AXE, ["color-contrast"])
    assert not {name: what for name, what in found.items() if what}


def walked(page: Page) -> list[int]:
    """Stops that a walk by Tab has not reached."""
    left = set(page.evaluate(REACHABLE))
    for _ in range(2 * len(left) + 8):
        if not left:
            break
        page.keyboard.press("Tab")
        left.discard(page.evaluate(STOP))
    return sorted(left)
