"""What takes noise out of speech, whatever does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from core.audio.samples import SAMPLE_RATE, Pcm
from whisper.types import Call

LONGEST_BLOCK = 30 * SAMPLE_RATE
"""Samples that are cleaned at once, at most."""


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """pcm: as many samples as were given, each at its own place; engine_seconds: CPU seconds that they took"""

    pcm: Pcm
    engine_seconds: float


class Enhancer(Protocol):
    """Safe to call from many threads and from forked job processes.

    version: raised when the same samples come out otherwise than before
    """

    version: str

    def clean(self, pcm: Pcm, call: Call) -> Cleaned:
        """Clean up to LONGEST_BLOCK samples; nothing is remembered of other calls, so the same give the same.

        Raises ChunkFailed, ChunkTimeout, ModelInvalid, EngineUnavailable, Cancelled (`Call.cancel`).
        """
        ...
