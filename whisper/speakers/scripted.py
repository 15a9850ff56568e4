"""Networks without weights, for tests: who is loud speaks, and the pitch of a tone is a voice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.audio.samples import Pcm
from whisper.speakers.diarizer import DIMENSIONS
from whisper.speakers.frames import FIELD, HOP, Classes

LOUD = 500
"""Root mean square from which a frame is speech."""


class ScriptedNetworks:
    """Twin of `whisper.speakers.networks.OnnxNetworks`."""

    def classes(self, window: Pcm) -> Classes:
        frames = np.lib.stride_tricks.sliding_window_view(window.astype(np.float32), FIELD)[::HOP]
        loud: Classes = (np.sqrt((frames**2).mean(axis=1)) >= LOUD).astype(np.uint8)
        return loud

    def voice(self, piece: Pcm) -> NDArray[np.float32]:
        spectrum = np.abs(np.fft.rfft(piece.astype(np.float32), 64_000))[:16_000]  # 4 s, up to 4 kHz
        voice: NDArray[np.float32] = np.add.reduceat(
            spectrum, np.linspace(0, len(spectrum), DIMENSIONS, endpoint=False).astype(int)
        )
        return voice.astype(np.float32)
