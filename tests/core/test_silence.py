from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from core.audio.samples import Region
from core.speech.strategies import Loudness, region_source
from testbed.audio_bank import speech


def no_vad(pcm: np.ndarray) -> np.ndarray:
    raise AssertionError("this strategy needs no VAD")


def regions(strategy: str, pcm: np.ndarray, size: int) -> list[Region]:
    source = region_source(strategy, no_vad)
    return [r for i in range(0, len(pcm), size) for r in source.feed(pcm[i : i + size])] + source.finish()


@pytest.mark.parametrize("level", [1.0, 0.01], ids=["normal", "40 dB quieter"])
def test_silence_finds_every_sentence_and_the_long_holes(level: float) -> None:
    pcm, truth = speech(1.5, seed=4, silence=0.3, noise_db=50)
    quiet = (pcm * level).astype(np.int16)
    found = regions("silence", quiet, 16_000)
    assert found == regions("silence", quiet, 12_345)
    heard = np.zeros(len(pcm), bool)
    for r in found:
        heard[r.start : r.end] = True
    for said in truth["utterances"]:
        span = heard[int(said["start"] * 16_000) : int(said["end"] * 16_000)]
        assert span.mean() > 0.9, said
    spoken = sum(u["end"] - u["start"] for u in truth["utterances"])
    assert spoken < heard.sum() / 16_000 < spoken + 0.5 * (truth["duration"] - spoken)


def test_digital_silence_is_no_speech() -> None:
    assert regions("silence", np.zeros(160_000, np.int16), 7_000) == []
    assert Loudness()(np.zeros(512, np.int16))[0] < 0.35


def test_fixed_is_everything_and_cuts_at_the_latest_point() -> None:
    source = region_source("fixed", no_vad)
    assert source.feed(np.zeros(1000, np.int16)) == [Region(start=0, end=1000)]
    assert source.feed(np.zeros(500, np.int16)) == [Region(start=1000, end=1500)]
    assert source.finish() == []
    assert source.quietest(200, 900) == 900


def test_vad_passes_the_samples_on() -> None:
    source = region_source("vad", lambda pcm: np.full(len(pcm) // 512, 0.9, np.float32))
    assert source.feed(np.zeros(16_000, np.int16)) + source.finish() == [Region(start=0, end=16_000)]


def test_unknown_strategy() -> None:
    with pytest.raises(ValueError, match="CHUNK_STRATEGY"):
        region_source("loud", no_vad)


def test_pydub_is_imported_late_and_without_its_warnings() -> None:
    code = "import sys, core.speech.strategies as s; assert 'pydub' not in sys.modules; s.Loudness(); assert 'pydub' in sys.modules"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], env={"PATH": ""}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
