"""Whether the two channels of a recording hold different people, so that they had better be listened to one by one.

Two looks, both needed. What the channels have in common: different voices have nothing, while music and what one pair of
microphones has heard agree in most of their energy. And whether each holds speech of its own, where the other is at least 12 dB quieter: microphones that stand apart
hear one voice at different times, which correlates with nothing, but they hear it about equally loud.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from core.audio.samples import SAMPLE_RATE, Pcm
from core.audio.tracks import SpeechSearch
from core.notices import Notice

ALIKE = 0.5
"""From this correlation on they hold the same."""

APART = 10**1.2
"""So many times the other's energy (12 dB) has a channel that is heard alone."""

ENOUGH = 2 * SAMPLE_RATE
"""Samples of speech, heard alone, of a channel that holds a talk."""

LOOKED_AT = 120 * SAMPLE_RATE
"""Of each channel so much is looked at: the search costs, and who has not spoken by then is no talk."""


class TwoTalks:
    """Fed by `core.audio.mixdown.Mixdown` with what it has computed anyway. speech: makes a search for speech"""

    def __init__(self, speech: Callable[[], SpeechSearch]) -> None:
        self._searches = [_Search(speech), _Search(speech)]
        self._energies = np.zeros(2)
        self._shared = 0.0

    def add(self, both: Pcm, energies: NDArray[np.float32], mixed: float, audible: float) -> None:
        """A window. both: shape (n, 2); energies, mixed: variances of each channel and of their mean; audible: the least
        that matters"""
        louder = int(energies.argmax())
        if energies[1 - louder] > audible:
            self._energies += len(both) * energies.astype(np.float64)
            self._shared += len(both) * (2 * mixed - float(energies.sum()) / 2)
        if energies[louder] >= APART * energies[1 - louder] and abs(self.correlation) < ALIKE:
            self._searches[louder].feed(both[:, louder])

    def same(self, samples: int, energy: float) -> None:
        """As many samples of both are the same; energy: their variance"""
        self._energies += samples * energy
        self._shared += samples * energy

    @property
    def correlation(self) -> float:
        """Over where both have signal; 0 if that is nowhere."""
        power = float(np.sqrt(self._energies.prod()))
        return self._shared / power if power else 0.0

    def notices(self) -> tuple[Notice, ...]:
        """`channels_differ`, once the recording has ended."""
        if abs(self.correlation) >= ALIKE or not all(search.finish() for search in self._searches):
            return ()
        text = f"The two channels hold different speech (correlation {self.correlation:.2f}): channels=split transcribes each by itself."
        return (Notice(code="channels_differ", message=text),)


class _Search:
    """For speech in one channel, among what is heard of it alone."""

    def __init__(self, speech: Callable[[], SpeechSearch]) -> None:
        self._speech = speech
        self._search: SpeechSearch | None = None
        self._fed = self._found = 0

    def feed(self, pcm: Pcm) -> None:
        if self._found >= ENOUGH or self._fed >= LOOKED_AT:
            return
        if self._search is None:
            self._search = self._speech()
        self._fed += len(pcm)
        self._found += sum(region.samples for region in self._search.feed(np.ascontiguousarray(pcm)))

    def finish(self) -> bool:
        """Whether there is a talk in it."""
        if self._search is not None and self._found < ENOUGH:
            self._found += sum(region.samples for region in self._search.finish())
        return self._found >= ENOUGH
