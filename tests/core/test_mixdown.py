"""Two channels become one without losing what is said, and a constant offset goes; everything else stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from core.audio.channels.mixdown import Mixdown, OffsetRemover
from core.audio.samples import SAMPLE_RATE
from testbed.audio_bank import speech


def whole(stage: Mixdown | OffsetRemover, pcm: NDArray[np.int16], step: int) -> NDArray[np.int16]:
    pieces = [stage.feed(pcm[start : start + step]) for start in range(0, len(pcm), step)]
    return np.concatenate([*pieces, stage.finish()])


def stereo(left: NDArray[np.int16], right: NDArray[np.int16]) -> NDArray[np.int16]:
    return np.stack([left, right], axis=1).reshape(-1)


def test_equal_channels_and_unlike_ones() -> None:
    said, other = speech(0.1, seed=1)[0], speech(0.1, seed=2)[0]
    np.testing.assert_array_equal(whole(Mixdown(), stereo(said, said), 1002), said)
    mix = Mixdown()
    np.testing.assert_array_equal(whole(mix, stereo(said, other), 30_000), (said.astype(int) + other) >> 1)
    np.testing.assert_array_equal(whole(mix, stereo(said, np.zeros_like(said)), 30_000), said >> 1)
    assert mix.lost_seconds == 0


@pytest.mark.parametrize("step", [2, 30_000])
def test_channels_that_cancel_each_other(step: int) -> None:
    said = speech(0.05, seed=1)[0]
    louder = (said * 0.9).astype(np.int16)
    half = len(said) // 2 // SAMPLE_RATE * SAMPLE_RATE
    left, right = said.copy(), said.copy()
    right[half:] = -louder[half:]  # in the second half alone
    mix = Mixdown()
    heard = whole(mix, stereo(left, right), step)
    np.testing.assert_array_equal(heard[:half], said[:half])
    loud = np.abs(said) > 1000
    np.testing.assert_array_equal(heard[half:][loud[half:]], said[half:][loud[half:]])
    assert 0 < mix.lost_seconds <= (len(said) - half) / SAMPLE_RATE


@pytest.mark.parametrize("seed", range(4))
def test_speech_without_an_offset_stays_as_it_is(seed: int) -> None:
    said = speech(0.5, seed=seed)[0][2 * SAMPLE_RATE :]
    heard = whole(OffsetRemover(), said, 32_768)
    assert len(heard) == len(said) and np.abs(heard.astype(int) - said).max() <= 200 and (heard == said).mean() > 0.8


@pytest.mark.parametrize("offset", [131, -3000])
@pytest.mark.parametrize("step", [999, 10**6])
def test_an_offset_goes_from_the_first_sample_on(offset: int, step: int) -> None:
    said = np.random.default_rng(1).normal(0, 20, 10 * SAMPLE_RATE).astype(np.int16)
    heard = whole(OffsetRemover(), said + np.int16(offset), step)
    assert len(heard) == len(said)
    assert np.abs(heard.astype(int) - said).max() <= 3
    np.testing.assert_array_equal(heard, whole(OffsetRemover(), said + np.int16(offset), 4711))


@pytest.mark.parametrize("length", [0, 1, 1599])
def test_short_sound(length: int) -> None:
    heard = whole(OffsetRemover(), np.full(length, 500, np.int16), 1000)
    assert len(heard) == length and not heard.any()
