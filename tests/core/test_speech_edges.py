"""Where anybody speaks: edges of sentences whose times are known, in silence and in noise."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from core.audio.samples import SAMPLE_RATE
from core.speech.speech_edges import speech_spans
from testbed import audio_bank
from whisper import VAD_MODEL
from whisper.vad.model import SileroModel
from whisper.vad.silero import SileroVad

MODEL = SileroModel.read(VAD_MODEL)


@pytest.mark.parametrize(("noise_db", "off"), [(40.0, 0.1), (10.0, 0.15)])
def test_edges_lie_where_sentences_begin_and_end(noise_db: float, off: float) -> None:
    pcm, truth = audio_bank.speech(0.4, seed=5, gap=(0.4, 0.9), noise_db=noise_db)
    found = speech_spans(pcm, SileroVad(MODEL).feed)
    assert all(a < b for a, b in found) and all(one[1] <= two[0] for one, two in pairwise(found))
    starts, ends = zip(*found, strict=True)
    for said in truth["utterances"]:
        assert min(abs(start - said["start"]) for start in starts) < off
        assert min(abs(end - said["end"]) for end in ends) < off


@pytest.mark.parametrize("samples", [0, 159, 160, SAMPLE_RATE])
def test_without_speech_there_is_none(samples: int) -> None:
    noise = np.random.default_rng(1).normal(0, 30, samples).astype(np.int16)
    for pcm in (np.zeros(samples, np.int16), noise):
        assert speech_spans(pcm, SileroVad(MODEL).feed) == []
