"""What the detector half hears outside of all speech is told, with its times."""

from __future__ import annotations

import numpy as np
import pytest

from core.audio.samples import Region
from core.speech.quiet_speech import SECOND
from core.speech.regions import FRAME
from core.speech.strategies import STRATEGIES, region_source
from core.speech.uncertain_speech import UncertainSpeech, notice
from tests.core.test_quiet_speech import ROOM, VOICE, sound

HUM = 40
"""Frames (1.3 s) of something."""

SOUND = sound((3 * SECOND, ROOM), (HUM, VOICE), (3 * SECOND, ROOM), (HUM, VOICE), (3 * SECOND, ROOM))
SCORES = np.concatenate(
    [np.full(frames, p) for frames, p in ((96, 0.02), (HUM, 0.2), (96, 0.02), (HUM, 0.2), (96, 0.02))]
)
FIRST, SECOND_ONE = Region(start=96 * FRAME, end=136 * FRAME), Region(start=232 * FRAME, end=272 * FRAME)


def left(pcm: np.ndarray, scores: np.ndarray, *heard: Region, step: int = 64) -> list[Region]:
    given = iter(np.split(scores.astype(np.float32), range(step, len(scores), step)))
    score = UncertainSpeech(lambda _: next(given))
    passed = [score(pcm[n * FRAME : (n + step) * FRAME]) for n in range(0, len(scores), step)]
    assert (np.concatenate(passed) == scores.astype(np.float32)).all()
    return score.left_out(heard)


@pytest.mark.parametrize("step", [1, 7, 64, 1000])
def test_uncertain_sound_is_found_whatever_the_blocks(step) -> None:
    assert left(SOUND, SCORES, step=step) == [FIRST, SECOND_ONE]


def test_what_is_heard_is_not_left_out() -> None:
    assert left(SOUND, SCORES, Region(start=FIRST.start - 99, end=FIRST.end + 5)) == [SECOND_ONE]
    assert left(SOUND, SCORES, Region(start=FIRST.start, end=FIRST.end - 32 * FRAME), SECOND_ONE) == [
        Region(start=FIRST.end - 32 * FRAME, end=FIRST.end)
    ]
    assert left(SOUND, SCORES, Region(start=FIRST.start, end=FIRST.end - 31 * FRAME), SECOND_ONE) == [], (
        "below a second"
    )


def test_short_pauses_do_not_end_a_stretch() -> None:
    gaps = SCORES.copy()
    gaps[100:130:3] = 0.0
    assert left(SOUND, gaps)[0] == SECOND_ONE, "30 frames are less than a second"
    gaps[140:160] = 0.2
    assert left(sound((96, ROOM), (70, VOICE), (202, ROOM)), gaps)[0] == Region(start=FIRST.start, end=160 * FRAME)


@pytest.mark.parametrize(
    ("pcm", "scores"),
    [
        (SOUND, np.minimum(SCORES, 0.09)),
        (sound((len(SCORES), ROOM)), SCORES),
        (sound((len(SCORES), VOICE)), SCORES),
        (SOUND[: 20 * FRAME], SCORES[:20]),
        (np.zeros(len(SCORES) * FRAME, np.int16), SCORES),
    ],
    ids=["unheard", "as the room", "loud room", "below a second", "digital silence"],
)
def test_all_else_is_not_told(pcm, scores) -> None:
    assert left(pcm, scores) == []


def test_there_may_be_no_audio() -> None:
    assert region_source("vad", lambda _: np.zeros(0, np.float32)).left_out([]) == []


def test_only_the_speech_detector_half_hears() -> None:
    for strategy in STRATEGIES:
        source = region_source(strategy, lambda pcm: SCORES[: len(pcm) // FRAME].astype(np.float32))
        source.feed(SOUND)
        source.finish()
        assert source.left_out([]) == ([FIRST, SECOND_ONE] if strategy == "vad" else [])


def test_the_warning_names_the_sum_and_the_first_places() -> None:
    four = [Region(start=n * 160_000, end=n * 160_000 + 24_000) for n in range(4)]
    assert notice(four[1:2]).message == "What may be quiet or far speech was left out, 1.5 s in all: 10.0 to 11.5 s."
    assert notice(four).message.endswith("6.0 s in all: 0.0 to 1.5 s, 10.0 to 11.5 s, 20.0 to 21.5 s and 1 more.")
    assert notice(four).code == "quiet_speech_left_out"
