"""Words get the speaker who is heard while they are said; the text stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.transcript.formats import FORMATS, from_result, to_result
from core.transcript.shaping import Shaping
from core.transcript.speakers.labels import labelled
from core.transcript.speakers.turns import Turn, usable
from core.transcript.speakers.words import Label, Spoken, labels_of
from core.transcript.values import Language, Segment, Transcript, Word


def turn(start: float, end: float, voice: int) -> Turn:
    return Turn(start=start, end=end, voice=voice)


def words(*given: tuple[str, float, float]) -> tuple[Word, ...]:
    return tuple(Word(word=word, start=start, end=end, probability=0.9) for word, start, end in given)


def said(*segments: Sequence[tuple[str, float, float]], language: str = "en", joint: str = " ") -> Transcript:
    made = [
        Segment(start=one[0][1], end=one[-1][2], text=joint.join(word.strip() for word, _, _ in one), words=words(*one))
        for one in segments
    ]
    return Transcript(
        segments=tuple(made),
        language=Language(code=language, confidence=1.0),
        duration=1000.0,
        model="base",
        word_timestamps=True,
    )


def voices(spoken: Sequence[Spoken], turns: Sequence[Turn]) -> list[int | None]:
    return [label.voice for label in labels_of(spoken, turns)]


def spoken(*given: tuple[float, float], ends: Sequence[int] = (), segment: int = 0) -> list[Spoken]:
    return [Spoken(start=a, end=b, segment=segment, ends=n in ends) for n, (a, b) in enumerate(given)]


# --- words
def test_the_longest_overlap_wins_and_is_told() -> None:
    label, *_ = labels_of(spoken((1.0, 2.0)), [turn(0.0, 1.3, 0), turn(1.2, 5.0, 1)])
    assert label == Label(voice=1, share=0.8), "the other is heard for less than half of it"


def test_both_are_told_where_two_talk_at_once() -> None:
    label, *_ = labels_of(spoken((1.0, 2.0)), [turn(0.0, 1.9, 0), turn(1.2, 5.0, 1)])
    assert (label.voice, label.also) == (0, (1,))


def test_a_tie_is_the_speakers_before() -> None:
    turns = [turn(0.0, 1.5, 1), turn(1.5, 9.0, 0)]
    assert voices(spoken((0.2, 0.9), (1.0, 2.0)), turns) == [1, 1]
    assert voices(spoken((1.0, 2.0)), turns) == [1], "then of who began first"


def test_a_word_outside_of_all_turns_is_the_nearest_ones() -> None:
    turns = [turn(0.0, 1.0, 0), turn(4.0, 5.0, 1)]
    assert voices(spoken((1.4, 1.8)), turns) == [0]
    assert voices(spoken((3.2, 3.6)), turns) == [1]
    assert voices(spoken((2.2, 2.8)), turns) == [None], "further than a second from both"
    assert voices(spoken((1.4, 1.8), (2.2, 2.8)), turns) == [0, 0], "or of the word before, in the same segment"
    apart = [*spoken((1.4, 1.8)), *spoken((2.2, 2.8), segment=1)]
    assert voices(apart, turns) == [0, None]


def test_a_long_turn_before_a_short_one_is_not_forgotten() -> None:
    turns = [turn(0.0, 60.0, 0), turn(1.0, 1.5, 1)]
    assert voices(spoken((60.3, 60.6)), turns) == [0], "the one that ended last is nearest, not the one that began last"


def test_one_short_word_amid_a_sentence_is_no_interruption() -> None:
    turns = [turn(0.0, 1.0, 0), turn(1.0, 1.2, 1), turn(1.2, 9.0, 0)]
    given = [(0.0, 1.0), (1.0, 1.2), (1.2, 2.0)]
    assert voices(spoken(*given), turns) == [0, 0, 0]
    assert voices(spoken(*given, ends=(0, 1)), turns) == [0, 1, 0], "but `Yes.` is"


def test_most_of_a_sentence_decides_about_the_rest() -> None:
    turns = [turn(0.0, 3.0, 0), turn(3.0, 9.0, 1)]
    sentence = [(0.0, 1.0), (1.0, 2.0), (2.0, 2.9), (3.0, 3.6), (4.0, 5.0)]
    assert voices(spoken(*sentence, ends=(3, 4)), turns) == [0, 0, 0, 0, 1]
    assert voices(spoken(*sentence, ends=(2, 4)), turns) == [0, 0, 0, 1, 1]
    halves = [(0.0, 1.0), (1.0, 2.0), (2.0, 2.9), (3.0, 4.0), (4.0, 5.0)]
    assert voices(spoken(*halves, ends=(4,)), turns) == [0, 0, 0, 1, 1], "two seconds of another are another"


def test_words_without_length_have_a_speaker() -> None:
    assert voices(spoken((1.0, 1.0)), [turn(0.5, 1.5, 3)]) == [3]


def test_nobody_speaks() -> None:
    assert voices(spoken((1.0, 2.0)), []) == [None]
    assert labels_of([], [turn(0, 1, 0)]) == []


@pytest.mark.parametrize(
    "broken", [turn(-1.0, 1.0, 0), turn(1.0, 1.0, 0), turn(2.0, 1.0, 0), turn(float("nan"), 1.0, 0), turn(1.0, 11.0, 0)]
)
def test_turns_that_make_no_sense_are_left_out(broken: Turn) -> None:
    good = turn(1.0, 10.04, 1)
    assert usable([broken, good], 10.0) == [good]


# --- segments
TWO = [turn(0.0, 2.0, 7), turn(2.0, 4.0, 3), turn(4.0, 6.0, 7)]


def test_segments_end_where_another_speaks_and_ids_are_by_the_first_word() -> None:
    transcript = said(
        [("Hello", 0.1, 0.9), ("there.", 1.0, 1.9), ("Good", 2.1, 2.9), ("morning.", 3.0, 3.9)], [("Yes.", 4.2, 5.0)]
    )
    found = labelled(transcript, TWO)
    assert [(s.speaker, s.text, s.start, s.end) for s in found.segments] == [
        ("SPEAKER_00", "Hello there.", 0.1, 1.9),
        ("SPEAKER_01", "Good morning.", 2.1, 3.9),
        ("SPEAKER_00", "Yes.", 4.2, 5.0),
    ]
    assert [(s.id, s.name, s.seconds) for s in found.speakers or ()] == [
        ("SPEAKER_00", "SPEAKER_00", 2.6),
        ("SPEAKER_01", "SPEAKER_01", 1.8),
    ]
    assert [w.speaker for s in found.segments for w in s.words] == ["SPEAKER_00"] * 2 + ["SPEAKER_01"] * 2 + [
        "SPEAKER_00"
    ]
    assert [s.speaker_confidence for s in found.segments] == [1.0, 1.0, 1.0]
    assert from_result(to_result(found)) == found


def test_one_voice_gets_no_label_unless_it_is_known() -> None:
    transcript = said([("Hello", 0.1, 0.9)])
    found = labelled(transcript, TWO[:1])
    assert found.segments == transcript.segments and found.speakers == ()
    named = labelled(transcript, TWO[:1], {7: "Anna"})
    assert [(one.id, one.name) for one in named.speakers or ()] == [("SPEAKER_00", "Anna")]


def test_turns_are_kept_of_those_who_say_something() -> None:
    transcript = said([("a", 0.0, 1.0)], [("b", 2.0, 3.0)])
    found = labelled(transcript, [turn(0.0, 2.2, 7), turn(1.9, 3.1, 3), turn(500.0, 501.0, 4), turn(999.9, 1000.02, 7)])
    assert [(one.start, one.end, one.speaker) for one in found.turns] == [
        (0.0, 2.2, "SPEAKER_00"),
        (1.9, 3.1, "SPEAKER_01"),
        (999.9, 1000.0, "SPEAKER_00"),
    ]
    assert labelled(transcript, [turn(0.0, 3.0, 7)]).turns == (), "one voice alone gets no label"


def test_where_two_talk_at_once_a_word_names_both() -> None:
    transcript = said([("One", 0.0, 0.9), ("two", 1.0, 2.0), ("three.", 2.0, 3.0)])
    found = labelled(transcript, [turn(0.0, 2.0, 0), turn(1.0, 3.0, 1)])
    assert [w.speakers for s in found.segments for w in s.words] == [(), ("SPEAKER_00", "SPEAKER_01"), ()]


def test_a_word_in_two_pieces_is_not_torn() -> None:
    given = [("twenty", 0.0, 1.9), ("-one", 2.0, 3.0), ("books", 3.0, 3.9)]
    transcript = said(given)
    transcript = replace(transcript, segments=(replace(transcript.segments[0], text="twenty-one books"),))
    found = labelled(transcript, TWO)
    assert found.text == transcript.text
    assert all(not s.text.startswith("-") for s in found.segments)


def test_texts_without_blanks_are_cut_between_letters() -> None:
    transcript = said([("你好。", 0.1, 1.9), ("早上好。", 2.1, 3.9)], language="zh", joint="")  # noqa: RUF001
    found = labelled(transcript, TWO)
    assert [s.text for s in found.segments] == ["你好。", "早上好。"] and found.text == transcript.text


def test_segments_without_times_of_words_are_labelled_too() -> None:
    transcript = said([("Hello there", 0.1, 1.9)], [("Good morning", 2.1, 3.9)])
    transcript = replace(transcript, segments=tuple(replace(s, words=()) for s in transcript.segments))
    assert [s.speaker for s in labelled(transcript, TWO).segments] == ["SPEAKER_00", "SPEAKER_01"]


TEXTS = st.sampled_from(
    ["Hello", "there.", "no", "twenty", "-one", "a", "«Oui»", "¿qué?", "你", "好。", "don't", "3.5", "…", "x" * 30]
)
TIMES = st.floats(0, 30).map(lambda t: round(t, 2))


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    starts = sorted(draw(st.lists(TIMES, min_size=1, max_size=12)))
    glue = draw(st.lists(st.sampled_from([" ", ""]), min_size=len(starts), max_size=len(starts)))
    segments, now = [], []
    for n, start in enumerate(starts):
        now.append((draw(TEXTS), start, start + draw(st.floats(0, 2).map(lambda t: round(t, 2))), glue[n]))
        if draw(st.booleans()) or n + 1 == len(starts):
            text = "".join(word + blank for word, _, _, blank in now).strip()
            made = words(*((word, a, b) for word, a, b, _ in now)) if draw(st.booleans()) else ()
            segments.append(Segment(start=now[0][1], end=now[-1][2], text=text, words=made))
            now = []
    language = Language(code=draw(st.sampled_from(["en", "zh", "de"])), confidence=1.0)
    return Transcript(segments=tuple(segments), language=language, duration=40.0, model="base", word_timestamps=True)


TURNS = st.lists(
    st.builds(
        lambda a, n, v: turn(a, a + n, v), TIMES, st.floats(0.1, 8).map(lambda t: round(t, 2)), st.integers(0, 3)
    ),
    max_size=8,
)


@given(transcripts(), TURNS)
def test_no_letter_and_no_word_is_lost_or_doubled(transcript: Transcript, turns: list[Turn]) -> None:
    found = labelled(transcript, turns)
    assert found.text == transcript.text
    assert [(w.word, w.start) for s in found.segments for w in s.words] == [
        (w.word, w.start) for s in transcript.segments for w in s.words
    ]
    known = [speaker.id for speaker in found.speakers or ()]
    told = list(dict.fromkeys(s.speaker for s in found.segments if s.speaker))
    assert known == told == [f"SPEAKER_{n:02d}" for n in range(len(known))] and len(known) != 1
    for segment in found.segments:
        assert {w.speaker for w in segment.words} <= {segment.speaker}
    for one in FORMATS.values():
        one.render(found, Shaping())
