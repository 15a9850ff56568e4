from __future__ import annotations

import numpy as np
import pytest

from core.speech.quiet_speech import AS_SPEECH, PAUSE, SECOND, QuietSpeech
from core.speech.regions import FRAME

ROOM, VOICE = 10, 100
"""Amplitudes: 20 dB apart."""


def sound(*parts: tuple[int, int]) -> np.ndarray:
    """(frames, amplitude) one after the other."""
    noise = np.random.default_rng(5)
    return np.concatenate([noise.normal(0, loud, frames * FRAME) for frames, loud in parts]).round().astype(np.int16)


def look(pcm: np.ndarray, scores: np.ndarray, step: int) -> np.ndarray:
    """What the second look makes of given scores, fed `step` frames at a time."""
    given = iter(np.split(scores.astype(np.float32), range(step, len(scores), step)))
    source = QuietSpeech(lambda _: next(given))
    return np.concatenate([source(pcm[n * FRAME : (n + step) * FRAME]) for n in range(0, len(scores), step)])


QUIET = sound((3 * SECOND, ROOM), (40, VOICE), (40, ROOM))
HALF = np.concatenate([np.full(3 * SECOND, 0.02), np.full(40, 0.4), np.full(40, 0.02)])


@pytest.mark.parametrize("step", [1, 7, 64, 1000])
def test_what_is_half_heard_and_stands_out_of_the_room_is_speech(step) -> None:
    lifted = look(QUIET, HALF, step)
    begin = 3 * SECOND + 6  # 7 of 9 frames at 0.4 and two at 0.02 are 0.32 in the mean
    assert (lifted[begin : 3 * SECOND + 40] == AS_SPEECH).all()
    assert (lifted[:begin] == HALF.astype(np.float32)[:begin]).all() and (
        lifted[3 * SECOND + 40 :] == np.float32(0.02)
    ).all()


def test_a_knock_is_too_short() -> None:
    scores = np.concatenate([np.full(3 * SECOND, 0.02), np.full(5, 0.45), np.full(75, 0.02)])
    assert (look(QUIET, scores, 64) == scores.astype(np.float32)).all()


@pytest.mark.parametrize(
    ("pcm", "scores"),
    [
        (QUIET, np.minimum(HALF, 0.25)),  # the detector hears next to nothing
        (sound((3 * SECOND + 80, ROOM)), HALF),  # no louder than the room
        (sound((3 * SECOND + 80, VOICE)), HALF),  # a loud room
        (sound((40, VOICE), (3 * SECOND + 40, ROOM)), np.roll(HALF, -3 * SECOND)),  # nothing is known of the room yet
    ],
    ids=["unheard", "as the room", "loud room", "at the start"],
)
def test_all_else_stays_as_it_was(pcm, scores) -> None:
    assert (look(pcm, scores, 64) == scores.astype(np.float32)).all()


def test_pauses_of_normal_speech_are_left_alone() -> None:
    pause = PAUSE - 1
    scores = np.concatenate(
        [np.full(3 * SECOND, 0.02), np.full(40, 0.9), np.full(pause, 0.4), np.full(40, 0.9), np.full(PAUSE + 10, 0.4)]
    )
    lifted = look(sound((3 * SECOND, ROOM), (40 + pause + 40 + PAUSE + 10, VOICE)), scores, 64)
    assert (lifted[:-10] == scores.astype(np.float32)[:-10]).all()
    assert (lifted[-10:] == AS_SPEECH).all()
