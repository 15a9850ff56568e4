"""Keys, the settings and the administration: who comes in, what they see, and what an administrator does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from core.keys import KeyLimits, key_of, new_token
from core.store.database import open_database
from core.store.sql import SqlStore
from testbed.service import PLAIN, Service, running
from tests.api.receiver import receiving
from tests.page.conftest import Troubles
from tests.page.test_accessible import look_at, silence

REFUSED = "401 (Unauthorized)"
"""What a browser says of it by itself."""


class Keyed:
    """A service whose first key was made with its page. root: that key"""

    def __init__(self, service: Service, root: str) -> None:
        self.url, self.root = service.url, root
        self.store = SqlStore(open_database(f"sqlite:///{service.folder}/data/parascribe.db"))

    def key(self, name: str, **more: Any) -> str:
        token = new_token()
        self.store.add_key(key_of(token, name, **more))
        return token

    def ask(self, method: str, path: str, token: str, **more: Any) -> httpx.Response:
        return httpx.request(method, f"{self.url}/api/v1/{path}", headers={"X-API-Key": token}, verify=PLAIN, **more)


@pytest.fixture(scope="module")
def keyed(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    with running(tmp_path_factory.mktemp("keyed"), WEBHOOK_ALLOW_PRIVATE="true") as service:
        made = Keyed(service, first_key(browser, service.url))
        yield made
        made.store.close()


def first_key(browser: Browser, url: str) -> str:
    """Makes it as somebody does who has never heard of keys."""
    page = browser.new_page(locale="en-GB")
    page.goto(f"{url}/#/admin")
    expect(page.get_by_text("There is no key")).to_be_visible()
    page.get_by_role("button", name="Make a key").click()
    asked = page.get_by_role("dialog")
    expect(asked).to_contain_text("This is the first key")
    asked.get_by_label("admin", exact=True).uncheck()
    asked.get_by_role("button", name="Create").click()
    expect(asked.get_by_role("alert")).to_contain_text("no key with the scope admin is left")
    asked.get_by_label("admin", exact=True).check()
    asked.get_by_role("button", name="Create").click()
    root = page.get_by_role("textbox", name="Key: admin").input_value()
    asked.locator("footer").get_by_role("button").click()
    expect(page.get_by_role("row", name="admin").first).to_contain_text("yours")  # logged in with it
    page.close()
    return root


@pytest.fixture(autouse=True)
def _expected(troubles: Troubles) -> Iterator[None]:
    yield
    troubles.expect(REFUSED)


def log_in(page: Page, key: str) -> None:
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Log in").click()


def test_only_a_good_key_opens_the_page_and_it_goes_on_where_one_was(
    open_window: Callable[..., Page], keyed: Keyed, troubles: Troubles
) -> None:
    gone, slow, anna = keyed.key("gone"), keyed.key("slow", limits=KeyLimits(requests_per_minute=1)), keyed.key("anna")
    keyed.store.revoke(gone[4:12])
    assert keyed.ask("GET", "session", slow).is_success
    page = open_window(f"{keyed.url}/#/settings")
    said = page.get_by_role("alert")
    for key, words in (("psk_ä", "not known"), (new_token(), "not known"), (gone, "revoked"), (slow, "Too many")):
        log_in(page, key)
        expect(said).to_contain_text(words)
    troubles.expect("429")
    log_in(page, f" {anna} ")
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    expect(page.locator("main")).to_contain_text("anna")
    expect(page.get_by_role("navigation")).not_to_contain_text("Administration")
    assert anna not in page.evaluate("JSON.stringify({...localStorage}) + document.documentElement.outerHTML")

    page.get_by_label("Colours").select_option("dark")
    page.get_by_label("Language").select_option("de")
    expect(page.get_by_role("heading", name="Einstellungen")).to_be_visible()
    dark = page.evaluate("[document.documentElement.dataset.theme, getComputedStyle(document.body).backgroundColor]")
    assert dark == ["dark", "rgb(20, 22, 26)"]

    page.get_by_role("button", name="Abmelden").click()
    expect(page.get_by_label("Schlüssel", exact=True)).to_be_visible()
    page.goto(f"{keyed.url}/#/login?back=//elsewhere.example/")
    page.get_by_label("Schlüssel", exact=True).fill(anna)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{keyed.url}/#/")


def test_a_session_that_ends_loses_nothing_and_webhooks_say_what_became_of_them(
    open_window: Callable[..., Page], keyed: Keyed, speech: Callable[..., Path]
) -> None:
    with receiving() as receiver:
        bert = keyed.key("bert")
        page = open_window(f"{keyed.url}/#/settings")
        log_in(page, bert)
        page.get_by_role("button", name="Add a webhook").click()
        page.get_by_label("Address").fill(receiver.url)
        (cookie,) = page.context.cookies()
        headers = {"Origin": keyed.url, "Cookie": f"{cookie['name']}={cookie['value']}"}
        httpx.delete(f"{keyed.url}/api/v1/session", headers=headers, verify=PLAIN).raise_for_status()
        assert keyed.ask("GET", "session", new_token()).status_code == 401  # has the service look at what there is now
        page.get_by_role("button", name="Create").click()
        asked = page.get_by_role("dialog", name="Your session has ended")
        log_in(page, new_token())
        expect(asked.get_by_role("alert")).to_contain_text("not known")
        log_in(page, bert)
        assert page.get_by_role("textbox", name="The webhook's secret").input_value().startswith("whsec_"), (
            "it was sent again"
        )
        page.locator("dialog footer").get_by_role("button").click()
        hook = page.get_by_role("row", name=receiver.url)
        expect(hook).to_contain_text("active")

        files = {"file": ("talk.wav", speech("talk.wav", 2).read_bytes())}
        job = keyed.ask("POST", "jobs", bert, files=files).json()["id"]
        keyed.ask("POST", f"jobs/{job}/cancel", bert)
        receiver.wait(1)
        hook.get_by_role("button", name="Deliveries").click()
        sent = page.get_by_role("dialog", name="Deliveries").get_by_role("row").nth(1)
        expect(sent).to_contain_text("delivered")
        expect(sent).to_contain_text("HTTP 204")
        sent.get_by_role("button", name="Send again").click()
        receiver.wait(2)
        sent.get_by_role("link").click()  # the job; the dialog belonged to what was shown
        expect(page).to_have_url(f"{keyed.url}/#/jobs/{job}")
        expect(page.get_by_role("dialog")).to_have_count(0)

        # somebody else, in a browser of their own
        other = open_window(f"{keyed.url}/#/settings")
        log_in(other, keyed.key("carl"))
        expect(other.get_by_role("heading", name="Settings")).to_be_visible()
        seen = "fetch('api/v1/jobs').then(a => a.json()).then(a => a.items.map(job => job.id))"
        assert (page.evaluate(seen), other.evaluate(seen)) == ([job], [])
        expect(other.get_by_role("row", name=receiver.url)).to_have_count(0)


def test_an_administrator_makes_and_revokes_keys(
    open_window: Callable[..., Page], keyed: Keyed, troubles: Troubles
) -> None:
    page = open_window(f"{keyed.url}/#/admin")
    log_in(page, keyed.root)
    page.get_by_role("button", name="Make a key").click()
    asked = page.get_by_role("dialog")
    asked.get_by_label("Name").fill("dora: x")
    asked.get_by_role("button", name="Create").click()
    expect(asked).to_be_visible()  # no name
    asked.get_by_label("Name").fill("<b>dora</b>")
    asked.get_by_label("Expires after").fill("90")
    asked.locator("summary").click()
    asked.get_by_label("Size of a file").fill("500")
    page.keyboard.press("Enter")
    dora = page.get_by_role("textbox", name="Key: <b>dora</b>").input_value()
    page.keyboard.press("Escape")
    row = page.get_by_role("row", name="<b>dora</b>")
    expect(row).to_contain_text("Size of a file: 524 MB")
    assert keyed.ask("GET", "session", dora).json()["owner"] == "<b>dora</b>"
    row.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(row).to_have_count(0)
    page.get_by_label("Revoked and expired").check()
    expect(row).to_contain_text("revoked")

    page.get_by_role("row", name="yours").get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("dialog")).to_contain_text("the last administrator's")
    troubles.expect("409")
    page.keyboard.press("Escape")
    assert keyed.ask("GET", "keys", keyed.root).is_success

    for part in ("Queue", "Consumers", "Storage", "Models"):
        expect(page.get_by_role("region", name=part)).to_contain_text(
            {"Queue": "Waiting", "Models": "demo"}.get(part, "free")
        )
    page.set_viewport_size({"width": 360, "height": 740})
    for place in ("admin", "settings"):
        page.goto(f"{keyed.url}/#/{place}")
        expect(
            page.get_by_role("row", name="demo usual" if place == "admin" else "Addresses that jobs name")
        ).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.get_by_label("Language").select_option("de")  # has longer words
    expect(page.get_by_role("heading", name="Einstellungen")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def the_login(page: Page) -> None:
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def the_first_of_all(page: Page) -> None:
    expect(page.get_by_role("heading", name="Nothing here yet")).to_be_visible()


def the_administration(page: Page) -> None:
    expect(page.get_by_role("table").first).to_be_visible()
    expect(page.get_by_text("free").first).to_be_visible()


PLACES: dict[str, tuple[str, str, Callable[[Page], None]]] = {
    "login": ("", "#/login", the_login),
    "empty list": ("emil", "#/", the_first_of_all),
    "administration": ("root", "#/admin", the_administration),
}


@pytest.mark.parametrize("place", PLACES)
def test_everybody_with_a_key_can_use(
    place: str, open_window: Callable[..., Page], keyed: Keyed, tmp_path: Path
) -> None:
    name, address, reach = PLACES[place]
    # which nobody else sees
    files = {"file": ("Aufnahme 17.wav", silence(tmp_path).read_bytes())}
    keyed.ask("POST", "jobs", keyed.root, files=files).raise_for_status()
    page = open_window(f"{keyed.url}/#/login", reduced_motion="reduce")
    if name:
        log_in(page, keyed.root if name == "root" else keyed.key(name))
        expect(page.get_by_role("heading", name="Log in")).to_have_count(0)
        page.goto(f"{keyed.url}/{address}")
    reach(page)
    look_at(page)
