"""What people may change in a transcript, what of it stays, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import NotInResult, ValidationFailed
from core.transcript.edits import Edit, edited, renamed
from core.transcript.formats import from_result, to_result
from core.transcript.values import Language, Segment, Speaker, SpeakerTurn, Transcript, Translation, Word


def words(text: str, start: float) -> tuple[Word, ...]:
    said = text.split()
    return tuple(
        Word(word=f" {one}", start=start + n * 0.2, end=start + n * 0.2 + 0.1, probability=0.9)
        for n, one in enumerate(said)
    )


TALK = Transcript(
    segments=(
        Segment(start=0.0, end=1.0, text="hello dear wolrd", words=words("hello dear wolrd", 0.0), avg_logprob=-0.2),
        Segment(start=1.0, end=2.0, text="how are you", words=words("how are you", 1.0), flags=("low_confidence",)),
    ),
    language=Language(code="en", confidence=0.9),
    duration=2.5,
    model="base",
)
SPOKEN = replace(
    TALK,
    segments=tuple(replace(s, speaker="SPEAKER_00", translation="da") for s in TALK.segments),
    speakers=(
        Speaker(id="SPEAKER_00", name="SPEAKER_00", seconds=2.0),
        Speaker(id="SPEAKER_01", name="SPEAKER_01", seconds=0.0),
    ),
    translation=Translation(language="de", provider="none"),
)


def same(transcript: Transcript) -> list[Edit]:
    return [Edit(id=n, start=s.start, end=s.end, text=s.text) for n, s in enumerate(transcript.segments)]


def change(n: int, **values: Any) -> list[Edit]:
    return [replace(edit, **values) if edit.id == n else edit for edit in same(TALK)]


@pytest.mark.parametrize("talk", [TALK, SPOKEN])
def test_nothing_changed_is_nothing(talk: Transcript) -> None:
    assert edited(talk, same(talk)) is talk


def test_another_text_has_no_words_and_none_of_the_models_figures() -> None:
    first, second = edited(TALK, change(0, text="Hello, dear world!")).segments
    assert (first.text, first.words, first.avg_logprob) == ("Hello, dear world!", (), None)
    assert second == TALK.segments[1]


def test_capitals_and_commas_keep_the_times_of_words() -> None:
    _, second = edited(TALK, change(1, text="How, are YOU?")).segments
    assert [w.word for w in second.words] == [" How,", " are", " YOU?"]
    assert [w.start for w in second.words] == [w.start for w in TALK.segments[1].words] and second.flags == ()


def test_words_go_where_the_segment_no_longer_holds_them() -> None:
    assert edited(TALK, change(1, start=1.1)).segments[1].words == ()
    kept = edited(TALK, change(1, end=2.25)).segments[1]
    assert (kept.words, kept.flags) == (TALK.segments[1].words, TALK.segments[1].flags)


def test_segments_are_split_added_and_left_out() -> None:
    parts = [
        Edit(id=1, start=0.5, end=0.7, text="how"),
        Edit(start=0.7, end=1.0, text="are you"),
        Edit(start=2.0, end=2.5, text="日本語 مرحبا 👋🏽"),
    ]
    after = edited(TALK, parts)
    assert [s.text for s in after.segments] == [part.text for part in parts]
    assert from_result(to_result(after)) == after
    assert edited(TALK, []).segments == ()


def test_who_speaks_and_for_how_long() -> None:
    edits = [replace(one, more={"speaker": "SPEAKER_01"}) if one.id else one for one in same(SPOKEN)]
    after = edited(SPOKEN, edits)
    assert [s.speaker for s in after.segments] == ["SPEAKER_00", "SPEAKER_01"]
    assert [s.translation for s in after.segments] == ["da", "da"], "what is not given stays"
    assert after.speakers and [s.seconds for s in after.speakers] == [1.0, 1.0]
    assert edited(SPOKEN, [Edit(start=0, end=1, text="x", more={"speaker": None})]).segments[0].speaker is None


@pytest.mark.parametrize(
    ("edits", "field"),
    [
        (change(0, start=1.5, end=1.6), "segments.1.start"),
        (change(1, end=0.5), "segments.1.end"),
        (change(1, end=2.6), "segments.1.end"),
        (change(1, id=0), "segments.1.id"),
        (change(1, id=7), "segments.1.id"),
        (change(1, id=-1), "segments.1.id"),
        (change(0, text=" \n"), "segments.0.text"),
        (change(0, more={"speaker": "SPEAKER_00"}), "segments.0.speaker"),
        (change(0, more={"translation": "hallo"}), "segments.0.translation"),
    ],
)
def test_what_cannot_be_is_refused(edits: list[Edit], field: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        edited(TALK, edits)
    assert [error["field"] for error in refused.value.details["errors"]] == [field]


def test_a_thousand_faults_are_told_in_twenty() -> None:
    with pytest.raises(ValidationFailed) as refused:
        edited(TALK, [Edit(start=9, end=8, text="") for _ in range(1000)])
    assert len(refused.value.details["errors"]) == 20


def test_a_name_for_a_speaker() -> None:
    after = renamed(SPOKEN, {"SPEAKER_00": " Änna 安娜 "})
    assert after.speakers and [s.name for s in after.speakers] == ["Änna 安娜", "SPEAKER_01"]
    assert after.segments == SPOKEN.segments
    with pytest.raises(NotInResult):
        renamed(TALK, {"SPEAKER_00": "Anna"})
    alone = replace(SPOKEN, speakers=())
    for transcript, names, wrong in (
        (SPOKEN, {"SPEAKER_09": "Anna"}, "no such speaker: there is SPEAKER_00, SPEAKER_01"),
        (SPOKEN, {"SPEAKER_00": " "}, "a name has letters"),
        (alone, {"SPEAKER_00": "Anna"}, "one voice alone has no label"),
    ):
        with pytest.raises(ValidationFailed, match=wrong):
            renamed(transcript, names)


edits_of = st.lists(
    st.builds(
        Edit,
        id=st.none() | st.integers(-1, 3),
        start=st.floats(0, 3),
        end=st.floats(0, 3),
        text=st.text(max_size=8),
        more=st.dictionaries(
            st.sampled_from(["speaker", "translation"]), st.sampled_from([None, "SPEAKER_01", "x"]), max_size=2
        ),
    ),
    max_size=5,
)


@given(edits_of)
@settings(max_examples=60, deadline=None)
def test_whatever_is_given_is_refused_or_holds(edits: list[Edit]) -> None:
    try:
        after = edited(SPOKEN, edits)
    except ValidationFailed:
        return
    starts = [s.start for s in after.segments]
    assert starts == sorted(starts) and all(s.start <= s.end <= SPOKEN.duration for s in after.segments)
    assert len(after.segments) == len(edits) and from_result(to_result(after)) == after


def test_a_speaker_that_is_called_as_another_is_that_other() -> None:
    first, second = (
        replace(word, speaker="SPEAKER_00", speakers=("SPEAKER_00", "SPEAKER_01"))
        for word in TALK.segments[0].words[:2]
    )
    spoken = replace(
        SPOKEN,
        segments=(
            replace(SPOKEN.segments[0], words=(first, second)),
            replace(SPOKEN.segments[1], speaker="SPEAKER_01", words=()),
        ),
    )
    after = renamed(spoken, {"SPEAKER_01": "SPEAKER_00", "SPEAKER_00": "Anna"})
    assert [(one.id, one.name, one.seconds) for one in after.speakers or ()] == [("SPEAKER_00", "Anna", 2.0)]
    assert [s.speaker for s in after.segments] == ["SPEAKER_00", "SPEAKER_00"] and after.text == spoken.text
    assert {(w.speaker, w.speakers) for w in after.segments[0].words} == {("SPEAKER_00", ())}
    with pytest.raises(ValidationFailed):
        renamed(spoken, {"SPEAKER_01": "SPEAKER_00", "SPEAKER_00": "SPEAKER_01"})


def test_words_follow_the_speaker_of_their_segment() -> None:
    heard = replace(
        SPOKEN.segments[0],
        speaker_confidence=0.7,
        words=tuple(replace(w, speaker="SPEAKER_00") for w in TALK.segments[0].words),
    )
    before = replace(SPOKEN, segments=(heard, SPOKEN.segments[1]))
    edits = [Edit(id=n, start=s.start, end=s.end, text=s.text) for n, s in enumerate(before.segments)]
    edits[0] = replace(edits[0], more={"speaker": "SPEAKER_01"})
    after = edited(before, edits).segments[0]
    assert after.speaker_confidence is None and {w.speaker for w in after.words} == {"SPEAKER_01"}


def test_turns_follow_names_and_go_where_people_say_who_speaks() -> None:
    heard = [(0.0, 1.2, "SPEAKER_00"), (0.9, 1.5, "SPEAKER_01"), (1.6, 2.0, "SPEAKER_00")]
    turns = tuple(SpeakerTurn(start=start, end=end, speaker=who) for start, end, who in heard)
    before = replace(SPOKEN, turns=turns)
    assert renamed(before, {"SPEAKER_00": "Anna"}).turns == turns
    both = renamed(before, {"SPEAKER_01": "SPEAKER_00"}).turns
    assert [(turn.start, turn.end, turn.speaker) for turn in both] == [
        (0.0, 1.5, "SPEAKER_00"),
        (1.6, 2.0, "SPEAKER_00"),
    ]
    edits = [Edit(id=n, start=s.start, end=s.end, text="mended") for n, s in enumerate(before.segments)]
    assert edited(before, edits).turns == turns
    edits[0] = replace(edits[0], more={"speaker": "SPEAKER_01"})
    assert edited(before, edits).turns == ()
