"""Whether the two channels of a recording hold different people, so that they had better be listened to one by one.

Never said of ordinary stereo, so several things must agree. What the channels have in common: different voices have nothing,
while music and what one pair of microphones has heard agree in most of their energy. When they are loud: microphones that
stand apart hear one voice at different times, which correlates with nothing, but they hear it get louder and softer together.
And speech in both, in one of them while the other is at least 12 dB quieter: music that is wide is loud on both sides.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from core.audio.samples import SAMPLE_RATE, Pcm
from core.audio.tracks import SpeechSearch
from core.notices import Notice

ALIKE = 0.5
"""From this correlation on, of the samples or of the loudness, they hold the same."""

APART = 10**1.2
"""So many times the other's energy (12 dB) has a channel that is heard alone."""

ENOUGH = round(1.5 * SAMPLE_RATE)
"""Samples of speech of a channel that holds a talk."""

LOOKED_AT = 120 * SAMPLE_RATE
"""Of each channel so much is looked at: the search costs, and who has not spoken by then is no talk."""


class TwoTalks:
    """Fed by `core.audio.channels.mixdown.Mixdown` with what it has computed anyway. speech: makes a search for speech

    audible: the variance from which sound matters
    """

    def __init__(self, speech: Callable[[], SpeechSearch], *, audible: float) -> None:
        self._alone = [_Search(speech), _Search(speech)]
        self._heard = [_Search(speech), _Search(speech)]
        self._audible = audible
        self._energies = np.zeros(2)
        self._shared = 0.0
        self._loudness = np.zeros((3, 3))  # sums of the products of 1 and both levels

    def add(self, both: Pcm, energies: NDArray[np.float32], mixed: float) -> None:
        """A window, shape (n, 2), in which the louder one can be heard. Variances: energies of each channel, mixed of their
        mean."""
        louder = int(energies.argmax())
        softer = 1 - louder
        levels = np.array([1.0, *np.log10(np.maximum(energies, self._audible))])
        self._loudness += np.outer(levels, levels)
        if energies[softer] > self._audible:
            self._energies += len(both) * energies.astype(np.float64)
            self._shared += len(both) * (2 * mixed - float(energies.sum()) / 2)
        if abs(self.correlation) >= ALIKE:
            return
        self._heard[louder].feed(both[:, louder])
        if energies[louder] >= APART * energies[softer]:
            self._alone[louder].feed(both[:, louder])
        elif energies[softer] > self._audible:
            self._heard[softer].feed(both[:, softer])

    def same(self, samples: int, energy: float) -> None:
        """As many samples of both are the same; energy: their variance"""
        self._energies += samples * energy
        self._shared += samples * energy

    @property
    def correlation(self) -> float:
        """Over where both have signal; 0 if that is nowhere."""
        power = float(np.sqrt(self._energies.prod()))
        return self._shared / power if power else 0.0

    @property
    def loudness_correlation(self) -> float:
        """Of their levels, window by window; 0 where one's never changes."""
        (n, *sums), *products = self._loudness
        if not n:
            return 0.0
        means = np.array(sums) / n
        (left, shared), (_, right) = np.array(products)[:, 1:] / n - np.outer(means, means)
        power = float(np.sqrt(max(0.0, left) * max(0.0, right)))
        return float(shared) / power if power > 1e-9 else 0.0

    def notices(self) -> tuple[Notice, ...]:
        """`channels_differ`, once the recording has ended."""
        if abs(self.correlation) >= ALIKE or self.loudness_correlation >= ALIKE:
            return ()
        if not any(search.finish() for search in self._alone) or not all(search.finish() for search in self._heard):
            return ()
        text = f"The two channels hold different speech (correlation {self.correlation:.2f}): channels=split transcribes each by itself."
        return (Notice(code="channels_differ", message=text),)


class _Search:
    """For speech in some of a channel."""

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
