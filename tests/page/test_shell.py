"""What stands around every view: it is served safely, and speaks the reader's language."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from playwright.sync_api import Page, expect

from api.page import files
from testbed.service import PLAIN, Service

BUDGET, FIRST_VIEW = 150_000, 75_000
"""Bytes as they are sent: of all that the page is made of, and of what its first view waits for."""


def test_nothing_comes_from_elsewhere_and_no_text_becomes_markup(service: Service) -> None:
    answer = httpx.get(service.url, verify=PLAIN)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy and "http" not in policy
    again = httpx.get(service.url, headers={"If-None-Match": answer.headers["etag"]}, verify=PLAIN)
    assert "microphone=(self)" in answer.headers["permissions-policy"] and "noindex" in answer.headers["x-robots-tag"]
    assert again.status_code == 304 and again.headers["content-security-policy"] == policy


def test_all_of_it_is_small() -> None:
    page = files.page()
    sizes = {name: len(file.packed) for name, file in page.files.items()} | {"index.html": len(page.index.packed)}
    largest = sorted(sizes.items(), key=lambda one: -one[1])
    assert sum(sizes.values()) <= BUDGET, largest[:12]
    modules = files.imported({name: file.content for name, file in page.files.items()})
    first = {*modules, "index.html", "locales/de.js", *(name for name in sizes if name.endswith(".css"))}
    assert sum(sizes[name] for name in first) <= FIRST_VIEW, [one for one in largest if one[0] in first][:12]


def test_files_are_packed_known_again_and_kept(service: Service) -> None:
    page = f"{service.url}/page/{files.page().version}"
    with httpx.Client(verify=PLAIN) as client:
        for address, cache in ((service.url, "no-cache"), (f"{page}/app/main.js", "max-age=31536000, immutable")):
            plain = client.get(address, headers={"Accept-Encoding": "gzip;q=0, br"})
            packed = client.get(address, headers={"Accept-Encoding": "br;q=1.0, gzip;q=0.8"})
            assert "content-encoding" not in plain.headers and packed.headers["content-encoding"] == "gzip"
            assert (
                plain.content == packed.content and plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding"
            )
            assert int(packed.headers["content-length"]) < len(plain.content)
            assert cache in packed.headers["cache-control"] and packed.headers["etag"] == plain.headers["etag"]
            known = client.get(address, headers={"If-None-Match": f'"other", {packed.headers["etag"]}'})
            assert (known.status_code, known.content) == (304, b"") and known.headers["vary"] == "Accept-Encoding"
            head = client.head(address)
            assert head.status_code == 200 and head.headers["content-length"] == packed.headers["content-length"]
        assert client.get(f"{service.url}/favicon.ico").headers["content-type"].startswith("image/svg+xml")
        for wrong in ("/page/000000000000/app/main.js", f"/page/{files.page().version}/../files.py"):
            gone = client.get(service.url + wrong)
            assert (gone.status_code, gone.json()["code"]) == (404, "not_found")
            assert gone.headers["cache-control"] == "no-store"


def test_the_browser_is_told_of_all_modules_of_the_first_view(window: Page) -> None:
    """None of them is found late, and none that is not needed is fetched."""
    expect(window.get_by_role("heading", level=1)).to_be_visible()
    told = set(
        window.evaluate("[...document.querySelectorAll('[rel=modulepreload], script')].map((it) => it.href || it.src)")
    )
    fetched = window.evaluate("performance.getEntriesByType('resource').map((it) => it.name)")
    assert {name for name in fetched if "/app/" in name} == told


def test_it_speaks_the_readers_language(open_window: Callable[..., Page], service: Service) -> None:
    for locale, words in (("de-AT", "Transkripte"), ("en-GB", "Transcripts"), ("fr-FR", "Transcripts")):
        page = open_window(service.url, locale=locale)
        expect(page.get_by_role("navigation")).to_contain_text(words)
        assert page.locator("html").get_attribute("lang") == locale[:2].replace("fr", "en")


def test_where_nobody_listens_there_is_no_place_to_speak(open_window: Callable[..., Page], service: Service) -> None:
    page = open_window(f"{service.url}/#/live")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    expect(page.get_by_text("ask whoever runs it")).to_be_visible()
    expect(page.get_by_role("navigation").get_by_role("link")).to_have_text(
        ["Transcripts", "Administration", "Settings"]
    )
