from __future__ import annotations

from dataclasses import replace

import pytest

from core.audio.samples import SAMPLE_RATE, Region
from tests.worker.live.test_seam import segment, texts
from whisper.types import ChunkTranscript
from worker.live.stages.lead import FAIR, GUESSED, LEAD, SHARE, WINDOW, Lead, behind_lead

SAID = ChunkTranscript(
    segments=(segment(("she", 0.3, 0.5), ("was", 0.6, 0.8), ("the", 2.9, 3.0)), segment(("first", 3.2, 3.5))),
    language="en",
    no_speech_prob=0.0,
    engine_seconds=1.0,
    wall_seconds=1.0,
    engine={},
)
"""Two utterances: the second is heard from 2.5 s on, and nobody spoke in the 1.4 s before."""


def seconds(start: float, end: float) -> Region:
    return Region(start=round(start * SAMPLE_RATE), end=round(end * SAMPLE_RATE))


def test_what_belongs_to_the_utterance_is_told_in_its_own_time() -> None:
    own = behind_lead(SAID, lead=2.5, silence=1.4, seconds=1.5)
    assert own is not None and texts(own.segments) == "the first"
    assert [word.start for one in own.segments for word in one.words] == pytest.approx([0.4, 0.7])


def test_a_word_at_the_end_of_the_silence_is_the_utterances_however_early_it_was_timed() -> None:
    early = replace(SAID, segments=(segment(("was", 0.6, 0.8), ("the", 1.6, 2.4)), *SAID.segments[1:]))
    own = behind_lead(early, lead=2.5, silence=1.4, seconds=1.5)
    assert own is not None and texts(own.segments) == "the first"
    assert own.segments[0].start == 0.0, "never before the utterance"


@pytest.mark.parametrize(("lead", "length"), [(3.6, 1.0), (2.5, 9.0)])
def test_an_utterance_of_which_nothing_or_hardly_anything_came_is_not_taken_for_said(
    lead: float, length: float
) -> None:
    assert behind_lead(SAID, lead=lead, silence=0.0, seconds=length) is None


def test_it_begins_with_the_first_utterance_that_is_near_enough_and_still_there() -> None:
    lead = Lead()
    for start in (0.0, 4.0, 9.0, 15.0):
        lead.begin(round(start * SAMPLE_RATE))
    assert lead.of(seconds(15, 18), first=0) == seconds(4, 18)
    assert lead.of(seconds(15, 18), first=5 * SAMPLE_RATE) == seconds(9, 18)
    assert lead.of(seconds(15, 15 + WINDOW / SAMPLE_RATE - 6), first=0) == seconds(9, 9 + WINDOW / SAMPLE_RATE)
    assert lead.of(seconds(15, 18), first=10 * SAMPLE_RATE) is None
    lead.begin(far := 15 * SAMPLE_RATE + 2 * LEAD)
    assert lead.of(Region(start=far, end=far + SAMPLE_RATE), first=0) is None


def test_others_that_have_begun_in_the_meantime_change_nothing() -> None:
    lead = Lead()
    for start in (0, 5, 20, 40):
        lead.begin(start * SAMPLE_RATE)
    assert lead.of(seconds(5, 8), first=0) == seconds(0, 8)
    lead.took(seconds(5, 8), 0.1)
    assert lead.of(seconds(20, 24), first=0) is None and lead.of(seconds(40, 44), first=0) is None


def test_who_is_slow_hears_utterances_by_themselves_until_there_is_time_again() -> None:
    lead = Lead()
    for start in (0, 5, 10, 15):
        lead.begin(start * SAMPLE_RATE)
    lead.took(seconds(0, 4), 0.1)
    lead.took(seconds(5, 9), 14 * SHARE)
    assert lead.of(seconds(10, 14), first=0) is None
    for end in (14, 19, 24):
        lead.took(seconds(end - 4, end), 0.1)
    lead.begin(25 * SAMPLE_RATE)
    assert lead.of(seconds(25, 29), first=0) is not None


def test_one_of_many_streams_takes_no_more_than_its_part() -> None:
    share = 1.0
    lead = Lead(fair_share=lambda: share)
    for start in (0, 5, 10):
        lead.begin(start * SAMPLE_RATE)
    lead.took(seconds(5, 9), 14 * SHARE / 2)
    assert lead.of(seconds(10, 14), first=0) is not None
    share = 0.4 * SHARE / FAIR
    assert lead.of(seconds(10, 14), first=0) is None and lead.may_guess(seconds(10, 14))
    share = 0.4 * SHARE / GUESSED
    assert not lead.may_guess(seconds(10, 14)), "nor before it is known that it has ended"
