"""What is half heard and left out is said of quiet recordings, and never of noise or of clips as they are."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.recordings import Clip, MissingRecordings, shared
from core.audio.samples import SAMPLE_RATE
from core.speech.planner import ChunkPlanner
from core.speech.strategies import region_source
from tests.skipping import skip_on_a_laptop
from whisper import VAD_MODEL
from whisper.vad.model import SileroModel
from whisper.vad.silero import SileroVad

MODEL = SileroModel.read(VAD_MODEL)


@pytest.fixture(scope="module")
def recordings() -> list[Clip]:
    """All of noise, and every third of the others."""
    try:
        clips = shared()
    except MissingRecordings as error:
        skip_on_a_laptop(str(error))
    return [clip for n, clip in enumerate(clips) if n % 3 == 0 or _is_noise(clip)]


def _is_noise(clip: Clip) -> bool:
    return clip.name.startswith("noise/")


def says_so(clip: Clip, decibels: float) -> bool:
    pcm = np.round(clip.samples() * 10 ** (decibels / 20)).astype(np.int16)
    source = region_source("vad", SileroVad(MODEL).feed)
    planner = ChunkPlanner(28 * SAMPLE_RATE, quietest=source.quietest)
    chunks = planner.feed(source.feed(pcm)) + planner.feed(source.finish()) + planner.finish(len(pcm))
    return bool(source.left_out([region for chunk in chunks for region in chunk.regions]))


def test_nothing_is_said_of_noise_and_of_clips_as_they_are(recordings: list[Clip]) -> None:
    assert [clip.name for clip in recordings if says_so(clip, 0)] == []


def test_quiet_speech_that_is_missed_is_often_told(recordings: list[Clip]) -> None:
    told = [clip for clip in recordings if says_so(clip, -50)]
    assert len(told) >= 5
    assert not any(map(_is_noise, told))
