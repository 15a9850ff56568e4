"""Hours of conversation that take no time to hear: people take turns of two seconds, and the networks know who they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.audio.samples import SAMPLE_RATE, Pcm
from whisper.speakers.diarizer import DIMENSIONS
from whisper.speakers.frames import FIELD, HOP, LOCAL, Classes

TURN = 2 * SAMPLE_RATE
"""Samples, with a pause of a tenth at its end."""


class Timeline:
    """Audio and networks (`whisper.speakers.pipeline`) in one: what is read are not samples but their places."""

    def __init__(self, hours: float, people: int = 5) -> None:
        rng = np.random.default_rng(1)
        self._samples = round(hours * 3600 * SAMPLE_RATE)
        self._who = rng.integers(0, people, self._samples // TURN + 2)
        self._centres = rng.normal(size=(people, DIMENSIONS))

    def length(self, at_least: int) -> int:
        return self._samples

    def read(self, start: int, end: int) -> Pcm:
        return np.array([start, end])

    def classes(self, window: Pcm) -> Classes:
        start, end = (int(edge) for edge in window)
        at = start + np.arange((end - start - FIELD) // HOP + 1) * HOP + FIELD // 2
        turns, place = np.divmod(at, TURN)
        people = self._who[turns]
        local = {who: 1 + n % LOCAL for n, who in enumerate(dict.fromkeys(people.tolist()))}
        names = np.array([local.get(who, 0) for who in range(int(people.max()) + 1)], np.uint8)
        found: Classes = np.where(place < 0.9 * TURN, names[people], 0).astype(np.uint8)
        return found

    def voice(self, piece: Pcm) -> NDArray[np.float32]:
        start, end = (int(edge) for edge in piece)
        noise = np.random.default_rng(start).normal(size=DIMENSIONS)
        voice: NDArray[np.float32] = (self._centres[self._who[(start + end) // 2 // TURN]] + 0.6 * noise).astype(
            np.float32
        )
        return voice
