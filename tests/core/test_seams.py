"""Punctuation where two chunks meet: a dot inside a sentence goes, everything else stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.audio.samples import SAMPLE_RATE, Region
from core.speech.chunks import Chunk
from core.transcript.merge import Piece, merge
from core.transcript.seams.punctuation import PAUSE, mended
from core.transcript.values import Segment, Word


def said(text: str, start: float, end: float, *, words: bool = False) -> Segment:
    parts = text.split()
    step = (end - start) / max(1, len(parts))
    timed = [
        Word(word=w, start=start + n * step, end=start + (n + 1) * step, probability=0.9) for n, w in enumerate(parts)
    ]
    return Segment(start=start, end=end, text=text, words=tuple(timed) if words else ())


def after(left: str, right: str, *, pause: float = 0.5, words: bool = False) -> str:
    """What becomes of the text on the left."""
    segments = mended([said("Before it.", 0, 2), said(left, 2, 8, words=words)], [said(right, 8 + pause, 12 + pause)])
    assert segments[0] == said("Before it.", 0, 2)
    last = segments[-1]
    if words:
        assert [w.word for w in last.words] == last.text.split(), "text and words are one"
    return last.text


CONTINUED = "and all the folk came out."


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize(
    ("left", "right", "then"),
    [
        ("He went through the town.", CONTINUED, "He went through the town"),
        ("He told him.", "that it was late. He went.", "He told him"),
        ("It was Anna's.", "and not mine.", "It was Anna's"),
        ("a well-known.", "man of letters.", "a well-known"),
        ("Il est allé.", "à la gare de Lyon.", "Il est allé"),
        ("Er ging über die Brücke.", "und dann nach Hause.", "Er ging über die Brücke"),
        ("Он пошёл домой.", "и лёг спать.", "Он пошёл домой"),
        ("Πήγε στο σπίτι.", "και κοιμήθηκε.", "Πήγε στο σπίτι"),
        ('He said "yes" to all.', "who asked him.", 'He said "yes" to all'),
    ],
)
def test_a_dot_inside_a_sentence_goes(left: str, right: str, then: str, words: bool) -> None:
    assert after(left, right, words=words) == then


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize(
    ("left", "right"),
    [
        # the next sentence, or a name
        ("He went through the town.", "And all the folk came out."),
        ("He went through the town.", "I saw it."),
        ("He put down his.", "iPhone and went."),
        # not a dot, or not one alone
        ("Did he go?", CONTINUED),
        ("Go!", CONTINUED),
        ("He went,", CONTINUED),
        ("He went", CONTINUED),
        ("He went...", CONTINUED),
        ("He went…", CONTINUED),
        ("He went..", CONTINUED),
        # quotes and brackets have a sentence of their own
        ('He said "I went."', CONTINUED),
        ("He went (to town.)", CONTINUED),
        ("He said “go.”", CONTINUED),
        ("He went.", '"and all" came.'),
        ("He went.", "(and all) came."),
        ("He went.", "- and all came."),
        ("He went.", "... and all came."),
        # abbreviations, initials, numbers
        ("He met Mr.", "van Dyke."),
        ("He met Dr.", "van Dyke."),
        ("apples, pears etc.", CONTINUED),
        ("at 5 p.m.", CONTINUED),
        ("in the U.S.", CONTINUED),
        ("that is, e.g.", "in town."),
        ("with J.", "van Dyke."),
        ("Er kam am 3.", "mai an."),
        ("bzw.", "und so weiter."),
        ("he has 3.5.", "and more."),
        ("Prof.", "von Stein kam."),
        ("It costs $5.", "and more."),
        ("go to example.com.", "and look."),
        ("MP3.", "and more."),
        ("Nr.", "drei ist da."),
        ("v2.", "and more."),
        # a number, or a script without case
        ("He went.", "5 apples fell."),
        ("今天天气很好.", "今天天气很好."),
        ("He went.", "今天天气很好。"),
        ("ذهب.", "إلى البيت."),
        # a text that knows neither capitals nor dots, or no capitals
        ("He went through the town.", "and all the folk came out and then they went on"),
        ("He went through the town.", "and all came out. then they went on. and so on."),
        ("", CONTINUED),
        (".", CONTINUED),
        ("He went.", ""),
        ("He went.", "'"),
    ],
)
def test_what_has_a_right_to_its_dot_keeps_it(left: str, right: str, words: bool) -> None:
    assert after(left, right, words=words) == left


def test_nobody_pauses_so_long_inside_a_sentence() -> None:
    assert after("He went.", CONTINUED, pause=PAUSE - 0.1) == "He went"
    assert after("He went.", CONTINUED, pause=PAUSE + 0.1) == "He went."


def test_words_without_the_dot_are_left_as_they_are() -> None:
    last = Segment(
        start=0,
        end=2,
        text="He went.",
        words=(Word(word="He", start=0, end=1, probability=1), Word(word="went", start=1, end=2, probability=1)),
    )
    assert mended([last], [said(CONTINUED, 2, 4)]) == [last]


texts = st.text(st.sampled_from("ab IA.,?!…'\"3é-дД今"), max_size=30)


@given(st.lists(texts, max_size=3), st.lists(texts, max_size=3))
def test_never_more_than_one_dot(left: list[str], right: list[str]) -> None:
    before = [said(text, n, n + 1, words=True) for n, text in enumerate(left)]
    then = mended(before, [said(text, n + 4, n + 5) for n, text in enumerate(right)])
    assert [s.text for s in then[:-1]] == [s.text for s in before[:-1]]
    if then != before:
        assert then[-1].text + "." == before[-1].text.rstrip()
        assert [w.word for w in then[-1].words] == then[-1].text.split()


@pytest.mark.parametrize("overlap", [0, SAMPLE_RATE // 2], ids=["a cut in silence", "a cut through speech"])
@pytest.mark.parametrize("missing", [False, True], ids=["neighbours", "with a chunk between"])
def test_at_the_borders_of_chunks_and_nowhere_else(overlap: int, missing: bool) -> None:
    """Inside a chunk the model knew what came next."""
    second = 2 if missing else 1
    size = 10 * SAMPLE_RATE

    def piece(index: int, *spoken: Segment) -> Piece:
        start = index * size
        begin, end = start - (overlap if index else 0), start + size + overlap
        region = Region(start=begin, end=end)
        chunk = Chunk(
            index=index,
            start=start,
            end=start + size,
            regions=(region,),
            overlap_before=start - begin,
            overlap_after=overlap,
        )
        return Piece(chunk=chunk, segments=spoken)

    shift = overlap / SAMPLE_RATE
    pieces = [
        piece(0, said("It rained.", 1, 3, words=True), said("he walked through the town.", 4, 9, words=True)),
        piece(
            second,
            said("and all the folk came.", 1 + shift, 5 + shift, words=True),
            said("It was late.", 6 + shift, 9 + shift, words=True),
        ),
    ]
    texts = [s.text for s in merge(pieces).segments]
    dot = "." if missing else ""
    assert texts == ["It rained.", f"he walked through the town{dot}", "and all the folk came.", "It was late."]
