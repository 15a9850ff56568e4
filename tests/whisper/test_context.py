"""A shorter encoder window for short chunks: how long, and what a doubtful answer leads to."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import numpy as np
import pytest

from core.audio.samples import Pcm
from testbed.audio_bank import speech
from tests.whisper.engine_parts import MODEL, WHEEL
from whisper.library.inference import BadChunk, Inference, Samples, fitted_context
from whisper.library.libwhisper import LibWhisper

ENGLISH = {"language": "en"}
FIT = ENGLISH | {"fit_context": True}


class Watched(Inference):
    """Notes the window of each decode."""

    def _decode(self, samples, options, params):  # type: ignore[no-untyped-def]
        self.contexts = [*getattr(self, "contexts", []), params.audio_ctx]
        return super()._decode(samples, options, params)


@pytest.fixture(scope="module")
def inference() -> Iterator[Watched]:
    lib = LibWhisper(WHEEL.directory)  # must live as long as what uses it
    yield Watched(lib, lib.load_model(MODEL), threads=1)
    del lib


def samples_of(pcm: Pcm) -> Samples:
    samples = Samples(len(pcm))
    ctypes.memmove(samples.floats, (pcm.astype("f4") / 32768).tobytes(), 4 * len(pcm))
    return samples


def test_the_window_covers_the_audio_and_is_never_very_short() -> None:
    assert [fitted_context(seconds) for seconds in (0.1, 5.0, 8.0, 9.0, 20.0, 28.0, 29.0, 30.0)] == [
        512,
        512,
        512,
        576,
        1088,
        1472,
        0,
        0,
    ]
    for tenths in range(1, 301):
        context = fitted_context(tenths / 10)
        assert context == 0 or context * 0.02 >= tenths / 10 + 1.2


@pytest.mark.parametrize("seed", range(4))
def test_short_clips_say_the_same_in_a_short_window(inference: Watched, seed: int) -> None:
    clip = speech(5 / 60, seed=seed)[0]
    full, short = (inference.transcribe(samples_of(clip), options) for options in (ENGLISH, FIT))
    assert inference.contexts[-2:] == [0, 512]
    texts = ["".join(segment["text"] for segment in said["segments"]) for said in (full, short)]
    assert texts[0] == texts[1] != ""


def test_what_looks_doubtful_is_decoded_again_in_full(inference: Watched) -> None:
    nothing = np.zeros(5 * 16_000, np.int16)
    fitted, full = (
        inference.transcribe(samples_of(nothing), options) | {"engine_seconds": 0, "wall_seconds": 0}
        for options in (FIT, ENGLISH)
    )
    assert fitted == full
    assert inference.contexts[-3:] == [512, 0, 0]


def test_samples_are_decoded_once(inference: Watched) -> None:
    clip = samples_of(speech(5 / 60)[0])
    inference.transcribe(clip, ENGLISH)
    with pytest.raises(BadChunk):
        inference.transcribe(clip, ENGLISH)
