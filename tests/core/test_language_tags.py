"""Languages as people and programs name them."""

from __future__ import annotations

import re

import pytest

from core.transcript.language_tags import ALIASES, SUBTAGS, is_mapped, language_code
from core.transcript.languages import LANGUAGES


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("en-US", "en"),
        ("en_GB", "en"),
        ("EN-us", "en"),
        (" de-CH ", "de"),
        ("pt-BR", "pt"),
        ("es-419", "es"),
        ("zh-CN", "zh"),
        ("zh-Hant-TW", "zh"),
        ("zh-TW", "zh"),
        ("cmn-Hans-CN", "zh"),
        ("sr-Latn-RS", "sr"),
        ("zh-yue", "yue"),
        ("zh-yue-HK", "yue"),
        ("yue-HK", "yue"),
        ("zh-cmn", "zh"),
        ("ar-arz", "ar"),
        ("ms-zsm", "ms"),
        ("nb", "no"),
        ("nb-NO", "no"),
        ("nn-NO", "nn"),
        ("no-nyn", "nn"),
        ("iw", "he"),
        ("iw-IL", "he"),
        ("in", "id"),
        ("ji", "yi"),
        ("fil", "tl"),
        ("fil-PH", "tl"),
        ("mo", "ro"),
        ("sh", "sr"),
        ("jv", "jw"),
        ("jv-ID", "jw"),
        ("eng", "en"),
        ("deu", "de"),
        ("ger", "de"),
        ("fra", "fr"),
        ("fre", "fr"),
        ("chi", "zh"),
        ("zho", "zh"),
        ("cmn", "zh"),
        ("arb", "ar"),
        ("pes", "fa"),
        ("prs", "fa"),
        ("swh", "sw"),
        ("deu-AT", "de"),
        ("de-DE-u-co-phonebk", "de"),
        ("de-1996", "de"),
        ("en-x-home", "en"),
        ("sl-rozaj-biske", "sl"),
    ],
)
def test_what_is_mapped(said: str, code: str) -> None:
    assert language_code(said) == code
    assert is_mapped(said)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "-",
        "e",
        "english-US",
        "en-",
        "-en",
        "en--US",
        "en-USA",
        "en-US!",
        "en US",
        "klingon",
        "tlh",
        "xx",
        "xx-US",
        "zh-nan",
        "zh-min-nan",
        "gd",
        "ga-IE",
        "en-abcdefghi",
        "en" + "-a1" * 12,
        "en\x00",
        "énglish",
        "en.UTF-8",
    ],
)
def test_what_no_model_knows(said: str) -> None:
    assert language_code(said) is None


def test_whispers_own_codes_and_names_are_taken_as_they_are() -> None:
    for code, name in [*LANGUAGES.items(), *((code, name) for name, code in ALIASES.items())]:
        for said in (code, code.upper(), name, name.title(), f" {name} "):
            assert language_code(said) == code
            assert not is_mapped(said)


def test_the_table() -> None:
    assert set(SUBTAGS.values()) == set(LANGUAGES) - {"haw", "yue"}, (
        "all have a code of three letters; these have no other"
    )
    assert not set(SUBTAGS) & (set(LANGUAGES) | set(ALIASES))
    assert all(re.fullmatch(r"[a-z]{2,3}|[a-z]{1,2}-[a-z]{3,5}", subtag) for subtag in SUBTAGS)
