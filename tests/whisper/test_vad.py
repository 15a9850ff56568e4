"""Silero VAD: the numbers of libwhisper's, in blocks of any size, and speech where the truth says it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from core.errors import ModelInvalid
from core.speech.regions import FRAME, SpeechRegions
from testbed import audio_bank
from testbed.library_vad import LibraryVad
from tests.whisper.engine_parts import WHEEL
from whisper import DEMO_MODEL, VAD_MODEL
from whisper.vad.model import SileroModel
from whisper.vad.silero import SileroVad

MODEL = SileroModel.read(VAD_MODEL)


def probabilities(pcm: NDArray[np.int16], block: int) -> NDArray[np.float32]:
    vad = SileroVad(MODEL)
    return np.concatenate([vad.feed(pcm[i : i + block]) for i in range(0, len(pcm), block)])


def test_the_numbers_of_libwhisper() -> None:
    """Which rounds to 16 bits on the way: hence the differences. What counts are the regions found."""
    speech, _ = audio_bank.speech(0.75, 11, silence=0.4)
    noise = np.random.default_rng(1).normal(0, 3000, 16_000 * 5).clip(-32768, 32767).astype(np.int16)
    loudest = np.tile(np.array([32767, -32768], np.int16), 16_000)
    pcm = np.concatenate([speech, noise, np.zeros(32_000, np.int16), loudest, speech[:-100]])  # ends within a frame
    ours, theirs = probabilities(pcm, len(pcm)), LibraryVad(WHEEL, VAD_MODEL).feed(pcm)
    assert ours.shape == theirs.shape and ours.dtype == np.float32
    assert np.abs(ours - theirs).max() < 0.02 and np.abs(ours - theirs).mean() < 0.001

    def regions(values: NDArray[np.float32]) -> list[object]:
        finder = SpeechRegions()
        return [*finder.feed(values), *finder.finish(len(pcm))]

    assert regions(ours) == regions(theirs) and len(regions(ours)) > 10


def test_blocks_equal_one_pass_and_find_the_speech() -> None:
    pcm, truth = audio_bank.speech(0.75, 11, silence=0.4)
    pcm = pcm[:-100]  # ends within a frame
    whole = probabilities(pcm, len(pcm))
    assert whole.dtype == np.float32 and whole.shape == (-(-len(pcm) // FRAME),)
    for frames in (1, 37, 64, 500):
        assert np.allclose(probabilities(pcm, frames * FRAME), whole, atol=1e-4)
    seconds = (np.arange(len(whole)) + 0.5) * FRAME / 16000
    spoken = np.zeros(len(whole), bool)
    for utterance in truth["utterances"]:
        spoken |= (seconds > utterance["start"]) & (seconds < utterance["end"])
    assert np.mean((whole > 0.5) == spoken) > 0.85


def test_streams_do_not_disturb_each_other() -> None:
    pcm, _ = audio_bank.speech(0.2, 11)
    alone = probabilities(pcm, len(pcm))
    one, other = SileroVad(MODEL), SileroVad(MODEL)
    mixed = []
    for i in range(0, len(pcm), 50 * FRAME):
        mixed.append(one.feed(pcm[i : i + 50 * FRAME]))
        other.feed(pcm[-50 * FRAME :])
    assert np.allclose(np.concatenate(mixed), alone, atol=1e-4)


def test_nothing_may_follow_a_partial_frame() -> None:
    vad = SileroVad(MODEL)
    assert vad.feed(np.zeros(0, np.int16)).shape == (0,)
    assert vad.feed(np.zeros(FRAME + 1, np.int16)).shape == (2,)
    with pytest.raises(ValueError, match="partial frame"):
        vad.feed(np.zeros(FRAME, np.int16))


def damaged(kind: str) -> bytes:
    whole = VAD_MODEL.read_bytes()
    name = b"_model.decoder.rnn.bias_ih"
    return {
        "nothing": b"nothing",
        "cut short": whole[:-1000],
        "without its last tensor": whole[: whole.rindex(b"_model.stft") - 24],
        "another model": DEMO_MODEL.read_bytes()[:10_000],
        "another name": whole.replace(name, name[::-1]),
        "not finite": whole[: whole.index(name) + len(name)] + b"\xff" * 4 + whole[whole.index(name) + len(name) + 4 :],
    }[kind]


@pytest.mark.parametrize(
    "kind", ["nothing", "cut short", "without its last tensor", "another model", "another name", "not finite"]
)
def test_a_vad_model_that_is_none(kind: str, tmp_path: Path) -> None:
    (tmp_path / "vad.bin").write_bytes(damaged(kind))
    with pytest.raises(ModelInvalid, match="VAD model"):
        SileroModel.read(tmp_path / "vad.bin")


def test_a_vad_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match="cannot be read"):
        SileroModel.read(tmp_path / "vad.bin")
