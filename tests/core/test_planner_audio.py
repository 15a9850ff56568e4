"""The plan on spoken audio, with the real speech detector."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from core.audio.samples import SAMPLE_RATE, Region
from core.speech.chunks import Chunk
from core.speech.planner import MARGIN, SPLICE, ChunkPlanner
from core.speech.strategies import region_source
from testbed.audio_bank import speech
from whisper import VAD_MODEL
from whisper.vad.model import SileroModel
from whisper.vad.silero import SileroVad

S = SAMPLE_RATE
MODEL = SileroModel.read(VAD_MODEL)


def plan(pcm: NDArray[np.int16], block: int, window: int = 28 * S) -> tuple[list[Region], list[Chunk]]:
    """As the worker does it: regions and chunks while the samples arrive."""
    regions: list[Region] = []
    chunks: list[Chunk] = []
    source = region_source("vad", SileroVad(MODEL).feed)
    planner = ChunkPlanner(window, quietest=source.quietest)
    for at in range(0, len(pcm), block):
        found = source.feed(pcm[at : at + block])
        regions += found
        chunks += planner.feed(found)
    found = source.finish()
    return regions + found, chunks + planner.feed(found) + planner.finish(len(pcm))


@pytest.mark.parametrize("silence", [0.0, 0.25])
def test_few_windows_that_hear_everything_and_never_cut_a_sentence(silence: float) -> None:
    pcm, truth = speech(4, seed=7, silence=silence)
    regions, chunks = plan(pcm, block=10 * S)
    heard = np.zeros(len(pcm), bool)
    for r in (r for c in chunks for r in c.regions):
        heard[r.start : r.end] = True
    for said in truth["utterances"]:
        assert heard[int(said["start"] * S) : int(said["end"] * S)].all(), said
        assert not any(said["start"] < c.end / S < said["end"] for c in chunks[:-1]), said
    pauses = (b.start - a.end for a, b in pairwise(regions))
    least = sum(r.samples for r in regions) + sum(p if p <= SPLICE else 2 * MARGIN for p in pauses)
    assert len(chunks) <= -(-least // (28 * S)) + 1
    assert heard.mean() < 1 - silence * 0.8


def test_speech_without_pauses_is_heard_twice_around_each_cut() -> None:
    pcm, _ = speech(1, seed=3, gap=(0.0, 0.01))
    regions, chunks = plan(pcm, block=5 * S, window=10 * S)
    assert plan(pcm, block=33_333, window=10 * S) == (regions, chunks)
    seams = [(a, b) for a, b in pairwise(chunks) if a.overlap_after]
    assert len(seams) >= 3
    for a, b in seams:
        assert b.regions[0].start == a.end - b.overlap_before
        assert a.regions[-1].end == a.end + a.overlap_after
        assert 0 < a.overlap_after <= S
