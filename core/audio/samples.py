"""Samples: the one form of audio inside the service, mono s16 at 16 kHz, and spans of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:  # the API, the supervisor and the engine hosts, which compute with no samples, do without its 6 MB
    import numpy as np
    from numpy.typing import NDArray

SAMPLE_RATE = 16_000
"""Whisper's input rate: samples per second of all PCM inside the service."""

SAMPLE_BYTES = 2

Pcm: TypeAlias = "NDArray[np.int16]"
"""Mono samples at 16 kHz, shape (n,), int16."""


@dataclass(frozen=True, kw_only=True, order=True)
class Region:
    """A half-open span [start, end) in samples of the original timeline."""

    start: int
    end: int

    @property
    def samples(self) -> int:
        return self.end - self.start
