"""CHUNK_STRATEGY: where the planner takes its regions from.

vad      Silero VAD (the default)
silence  loudness, measured with pydub on the decoded PCM
fixed    everything counts as speech: plain cuts with an overlap
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.audio.samples import SAMPLE_RATE, Pcm, Region
from core.speech.quiet_speech import QuietSpeech
from core.speech.regions import FRAME, RegionSource, Score, ScoredRegions, SpeechRegions
from core.speech.uncertain_speech import UncertainSpeech

STRATEGIES = ("vad", "silence", "fixed")

SILENCE_DBFS = -40.0
"""Frames louder than this are never taken for silence."""

BELOW_LOUDEST_DB = 30.0
"""In a quiet recording the threshold falls: this far below its loudest frame so far."""

FRAME_MS = 1000 * FRAME // SAMPLE_RATE


class Loudness:
    """Score of each frame by its level in dBFS: 0.5 at the threshold, 0.35 at 6 dB below it.

    The threshold starts low and rises with the loudest frame heard so far, up to SILENCE_DBFS: in doubt
    a frame counts as speech. It depends on the samples before it only, never on block sizes.
    """

    def __init__(self) -> None:
        with warnings.catch_warnings():  # pydub looks for ffmpeg when imported; nothing here needs it
            warnings.simplefilter("ignore")
            self._pydub: Any = import_module("pydub")
        self._loudest = -np.inf

    def __call__(self, pcm: Pcm) -> NDArray[np.float32]:
        audio = self._pydub.AudioSegment(data=pcm.tobytes(), sample_width=2, frame_rate=SAMPLE_RATE, channels=1)
        levels = np.array([frame.dBFS for frame in self._pydub.utils.make_chunks(audio, FRAME_MS)], np.float32)
        loudest = np.maximum.accumulate(np.maximum(levels, self._loudest))
        self._loudest = float(loudest[-1])
        # a frame of digital silence has -inf dBFS, and so has the threshold before the first sound
        threshold = np.maximum(np.minimum(SILENCE_DBFS, loudest - BELOW_LOUDEST_DB), -96.0)
        scores: NDArray[np.float32] = np.clip(0.5 + (np.maximum(levels, -120.0) - threshold) / 40, 0, 1)
        return scores


class FixedRegions:
    """Everything is speech; every place is as good a cut as another, so the latest is taken."""

    finds_speech = False

    def __init__(self) -> None:
        self._total = 0

    def feed(self, pcm: Pcm) -> list[Region]:
        start, self._total = self._total, self._total + len(pcm)
        return [Region(start=start, end=self._total)] if len(pcm) else []

    def finish(self) -> list[Region]:
        return []

    def quietest(self, start: int, end: int) -> int:
        return end

    def settled(self) -> int:
        return self._total

    def left_out(self, heard: Sequence[Region]) -> list[Region]:
        return []


def region_source(strategy: str, vad: Score) -> RegionSource:
    """The source for one file. `vad` scores frames for the strategy of that name (state is kept between calls).

    Raises ValueError for an unknown strategy.
    """
    if strategy == "vad":
        uncertain = UncertainSpeech(vad)
        return ScoredRegions(QuietSpeech(uncertain), SpeechRegions(), uncertain.left_out)
    if strategy == "silence":
        # loudness also falls inside words and at their soft ends: longer silences, wider padding
        return ScoredRegions(Loudness(), SpeechRegions(min_silence=0.5, pad=0.128))
    if strategy == "fixed":
        return FixedRegions()
    raise ValueError(f"CHUNK_STRATEGY must be one of {', '.join(STRATEGIES)}, not {strategy!r}")
