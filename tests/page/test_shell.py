"""What stands around every view: it is served safely, and speaks the reader's language."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from playwright.sync_api import Page, expect

from testbed.service import PLAIN, Service

BUDGET = 150_000
"""Bytes of all that the page is made of, uncompressed."""


def test_nothing_comes_from_elsewhere_and_no_text_becomes_markup(service: Service) -> None:
    answer = httpx.get(service.url, verify=PLAIN)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy and "http" not in policy
    again = httpx.get(service.url, headers={"If-None-Match": answer.headers["etag"]}, verify=PLAIN)
    assert again.status_code == 304 and again.headers["content-security-policy"] == policy


def test_it_speaks_the_readers_language(open_window: Callable[..., Page], service: Service) -> None:
    for locale, words in (("de-AT", "Transkripte"), ("en-GB", "Transcripts"), ("fr-FR", "Transcripts")):
        page = open_window(service.url, locale=locale)
        expect(page.get_by_role("navigation")).to_contain_text(words)
        assert page.locator("html").get_attribute("lang") == locale[:2].replace("fr", "en")
