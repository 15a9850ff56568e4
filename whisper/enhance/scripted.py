"""An enhancer without a network, for tests: what is not loud is noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from core.audio.samples import SAMPLE_RATE, Pcm
from core.system.cancel import raise_if_cancelled
from whisper.enhance.enhancer import Cleaned
from whisper.types import Call

LOUD = 500
"""Peak of 20 ms from which they stay as they are."""

_FRAME = SAMPLE_RATE // 50


class ScriptedEnhancer:
    """Twin of `whisper.engine.host_enhancer.HostEnhancer`. act: done before each call, with its number from 1"""

    version = "scripted"

    def __init__(self, act: Callable[[int], object] = lambda _: None) -> None:
        self.asked, self._act = 0, act

    def clean(self, pcm: Pcm, call: Call) -> Cleaned:
        raise_if_cancelled(call.cancel)
        self.asked += 1
        self._act(self.asked)
        frames = np.zeros((-(-len(pcm) // _FRAME), _FRAME), np.int16)
        frames.reshape(-1)[: len(pcm)] = pcm
        frames[np.abs(frames.astype(np.int32)).max(axis=1) < LOUD] = 0
        return Cleaned(pcm=frames.reshape(-1)[: len(pcm)], engine_seconds=0.01)
