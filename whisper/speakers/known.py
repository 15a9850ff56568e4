"""Who of the voices that were found is somebody whose voice is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whisper.speakers.voices import Vectors, unit

MATCH = 0.50
"""Cosine of a voice's centroid and a known voice from which they are the same person. Of 3,822 pairs of different people none has
more than .46, of 273 of the same one with a sample of 5 s and more none less than .64 (docs/explanation/speakers.md)."""


@dataclass(frozen=True, kw_only=True)
class Matches:
    """names: of voices, by their number; again: numbers of voices that sound like somebody who is another of them already"""

    names: dict[int, str]
    again: dict[int, str]


def matches(voices: Vectors, names: Sequence[str], known: Vectors) -> Matches:
    """voices: shape (n, 192); known: what each of `names` sounds like, shape (m, 192). Each is one of the other at most, the most
    alike first."""
    found = Matches(names={}, again={})
    if not len(voices) or not names:
        return found
    alike: NDArray[np.float64] = unit(voices) @ unit(known).T
    for place in np.argsort(-alike, axis=None, kind="stable"):
        voice, who = (int(one) for one in np.unravel_index(place, alike.shape))
        if alike[voice, who] < MATCH:
            break
        if voice in found.names or voice in found.again:
            continue
        taken = names[who] in found.names.values()
        (found.again if taken else found.names)[voice] = names[who]
    return found
