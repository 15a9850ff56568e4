"""A constant offset in all samples, as of cheap converters and 8-bit files: it hides speech from the search for it."""

from __future__ import annotations

import numpy as np

from core.chunks import SAMPLE_RATE

BLOCK = 2 * SAMPLE_RATE
"""Samples that are looked at together."""

AUDIBLE = 96
"""Offsets up to this stay (of 32768, 0.3 %; 8-bit files have 0.4 %). Loud voices are lopsided: 2 s of the tests' have a mean up
to 160 and a median up to 106, but never both over 81 to the same side."""


class OffsetRemover:
    """Takes out what both the mean and the median of the samples so far are off zero, if that is more than AUDIBLE."""

    def __init__(self) -> None:
        self._means = self._medians = 0.0  # sums over the blocks so far
        self._blocks = 0

    def without(self, data: bytes) -> bytes:
        """A block of s16le samples less their offset; a file's end, of less than half a block, says nothing about it."""
        pcm = np.frombuffer(data, "<i2")
        if len(pcm) >= BLOCK // 2:
            self._means += float(pcm.mean())
            self._medians += float(np.median(pcm))
            self._blocks += 1
        same_side = self._means * self._medians > 0
        offset = round(min(self._means, self._medians, key=abs) / self._blocks) if same_side else 0
        if abs(offset) <= AUDIBLE:
            return data
        return np.clip(pcm.astype(np.int32) - offset, -32768, 32767).astype("<i2").tobytes()
