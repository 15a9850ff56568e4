"""Silero VAD in libwhisper: blocks equal one pass, and speech is where the truth says it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from core.errors import ModelInvalid
from tests import audio_bank
from tests.whisper.engine_parts import VAD_MODEL, WHEEL
from whisper.vad import FRAME, SileroVad


def probabilities(pcm: NDArray[np.int16], block: int) -> NDArray[np.float32]:
    with SileroVad(WHEEL.directory, VAD_MODEL) as vad:
        return np.concatenate([vad.feed(pcm[i : i + block]) for i in range(0, len(pcm), block)])


def test_blocks_equal_one_pass_and_find_the_speech() -> None:
    pcm, truth = audio_bank.speech(0.75, 11, silence=0.4)
    pcm = pcm[:-100]  # ends within a frame
    whole = probabilities(pcm, len(pcm))
    assert whole.dtype == np.float32 and whole.shape == (-(-len(pcm) // FRAME),)
    for frames in (1, 37, 500):
        assert np.array_equal(probabilities(pcm, frames * FRAME), whole)
    seconds = (np.arange(len(whole)) + 0.5) * FRAME / 16000
    spoken = np.zeros(len(whole), bool)
    for utterance in truth["utterances"]:
        spoken |= (seconds > utterance["start"]) & (seconds < utterance["end"])
    assert np.mean((whole > 0.5) == spoken) > 0.85


def test_nothing_may_follow_a_partial_frame() -> None:
    with SileroVad(WHEEL.directory, VAD_MODEL) as vad:
        assert vad.feed(np.zeros(0, np.int16)).shape == (0,)
        assert vad.feed(np.zeros(FRAME + 1, np.int16)).shape == (2,)
        with pytest.raises(ValueError, match="partial frame"):
            vad.feed(np.zeros(FRAME, np.int16))
    vad.close()


def test_a_vad_model_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "vad.bin").write_bytes(b"nothing")
    with pytest.raises(ModelInvalid, match="VAD model"):
        SileroVad(WHEEL.directory, tmp_path / "vad.bin")
