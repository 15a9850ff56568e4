"""What text is found by, what people may type, and what they are shown."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ValidationFailed
from core.transcript.search.document import Document, Excerpt, highlighted, spaced
from core.transcript.search.query import Needle, Query
from core.transcript.search.words import words_of
from core.transcript.values import Language, Segment, Transcript


def talk(*lines: str) -> Transcript:
    return Transcript(
        segments=tuple(Segment(start=n * 2.0, end=n * 2.0 + 1.5, text=line) for n, line in enumerate(lines)),
        language=Language(code="en", confidence=1.0),
        duration=100.0,
        model="base",
    )


def words(text: str) -> list[str]:
    return [found.word for found in words_of(text)]


def marked(excerpt: Excerpt) -> str:
    return "".join(f"[{part.text}]" if part.match else part.text for part in excerpt.parts)


def found(text: str, query: str) -> list[str]:
    return [marked(one) for one in Document.of(talk(*text.split("|"))).excerpts(Query.of(query))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The CAT's 3.14 a_b", ["the", "cat", "s", "3", "14", "a", "b"]),
        ("Straße naïve İstanbul ÉCOLE", ["strasse", "naive", "istanbul", "ecole"]),
        ("ﬁne Ｆｕｌｌ co\u00adop", ["fine", "full", "coop"]),
        ("東京都、京", ["東京", "京都", "都", "京"]),
        ("iPhone15発売", ["iphone15", "発売", "売"]),
        ("ｶﾞﾗｽ", ["ガラ", "ラス", "ス"]),
        ("학교에서", ["학교", "교에", "에서", "서"]),
        ("हिन्दी", ["हिन्दी"]),
        ("شُكْرًا", ["شكرا"]),
        ("שָׁלוֹם", ["שלום"]),
        ("👋🏽 — …", []),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("cat dog", [Needle(words=("cat",)), Needle(words=("dog",))]),
        ('"the cat" do*', [Needle(words=("the", "cat")), Needle(words=("do",), prefix=True)]),
        ("“the cat”", [Needle(words=("the", "cat"))]),
        ('"the ca"*', [Needle(words=("the", "ca"), prefix=True)]),
        ('"never closed', [Needle(words=("never", "closed"))]),
        ("don't", [Needle(words=("don", "t"))]),
        ("cat CAT", [Needle(words=("cat",))]),
        ("a AND (b OR NOT c) -d ^e col:f", [Needle(words=(w,)) for w in ("a", "and", "b", "or", "not", "c", "d", "e")]),
        ("東京都", [Needle(words=("東京", "京都"))]),
        ("都", [Needle(words=("都",), prefix=True)]),
        ("東京*", [Needle(words=("東京",))]),
    ],
)
def test_what_is_typed(typed: str, expected: list[Needle]) -> None:
    assert list(Query.of(typed).needles)[: len(expected)] == expected


@pytest.mark.parametrize("typed", ["", " ", '"', "***", '"" ""', "-", "👋", "\0"])
def test_nothing_to_look_for(typed: str) -> None:
    with pytest.raises(ValidationFailed):
        Query.of(typed)


@pytest.mark.parametrize(
    ("text", "query", "expected"),
    [
        ("We met the cat|It sat", "CAT", ["We met the [cat]"]),
        ("We met the cat|sat down", '"cat sat"', ["We met the [cat]", "[sat] down"]),
        ("Cats and catalogues", "cat*", ["[Cats] and [catalogues]"]),
        ("one|two|one two", "one two", ["[one]", "[two]", "[one two]"]),
        ("明日は東京都に行く", "東京", ["明日は[東京]都に行く"]),
        ("明日は東京都に行く", "行", ["明日は東京都に[行]く"]),
        ("Straße", "strasse", ["[Straße]"]),
        ("cat", "dog", []),
    ],
)
def test_where_it_is(text: str, query: str, expected: list[str]) -> None:
    assert found(text, query) == expected


def test_the_segments_with_most_of_it_are_shown_in_order_with_their_times() -> None:
    document = Document.of(talk("one", "none", "one two", "two", "one two three", "three"))
    shown = document.excerpts(Query.of("one two three"), most=2)
    assert [(one.segment, one.start, one.end) for one in shown] == [(2, 4.0, 5.5), (4, 8.0, 9.5)]
    assert document.excerpts(Query.of("one"), most=0) == []


def test_a_long_segment_is_cut_around_what_was_found() -> None:
    (shown,) = found("word " * 200 + "here it is " + "word " * 200, "here")
    assert shown.startswith("…") and shown.endswith("…") and "[here]" in shown and len(shown) < 220


def test_a_name_in_parts() -> None:
    parts = highlighted("Talk_about_Cats.mp3", Query.of("cats"))
    assert parts and [(part.text, part.match) for part in parts] == [
        ("Talk_about_", False),
        ("Cats", True),
        (".mp3", False),
    ]
    assert highlighted("talk.mp3", Query.of("cats")) is None


@given(st.lists(st.text(max_size=30), max_size=6), st.text(max_size=20))
@settings(max_examples=150, deadline=None)
def test_whatever_is_said_and_typed(lines: list[str], typed: str) -> None:
    document = Document.of(talk(*lines))
    assert len(document.text.split("\n")) == max(1, len(lines)) == max(1, len(document.places))
    assert document.words == spaced([w for line in document.text.split("\n") for w in words(line)])
    try:
        query = Query.of(typed)
    except ValidationFailed:
        return
    for one in document.excerpts(query):
        shown = "".join(part.text for part in one.parts).strip("…")
        assert shown in document.text.split("\n")[one.segment]


@given(st.lists(st.text("aé東都ß. '", min_size=1, max_size=8), min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_each_word_of_a_text_finds_it(chunks: list[str]) -> None:
    text = " ".join(chunks)
    for chunk in text.split():
        if words(chunk):
            assert found(text.replace("|", " "), chunk), f"{chunk!r} in {text!r}"
