"""Speech probabilities by Silero VAD inside libwhisper, streamed over audio of any length."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from core.errors import ModelInvalid
from whisper.libwhisper import FloatPointer, LibWhisper

FRAME = 512
"""Samples per probability (32 ms at 16 kHz)."""


class SileroVad:
    """Feeds PCM to the VAD without resetting it, so that blocks give exactly what one pass over the whole would.

    library_dir: directory of libwhisper
    model_path: ggml Silero model

    One thread at a time. Runs OpenMP code with the wheel's library: never fork from a process that has used it
    and expect the child to use it too. Raises LibraryUnusable, ModelInvalid.
    """

    def __init__(self, library_dir: Path, model_path: Path) -> None:
        self._lib = LibWhisper(library_dir)
        params = self._lib.f.vad_default_context_params()
        params.n_threads, params.use_gpu = 1, False
        self._vad: int | None = self._lib.f.vad_init_from_file_with_params(str(model_path).encode(), params)
        if not self._vad:
            raise ModelInvalid(f"The VAD model {model_path} cannot be loaded.")
        self._lib.f.vad_reset_state(self._vad)
        self._ended = False

    def feed(self, pcm: NDArray[np.int16]) -> NDArray[np.float32]:
        """Next block of mono 16 kHz samples -> one speech probability per 512 samples, shape (ceil(n / 512),).

        All blocks but the last must be a multiple of 512 samples; a last partial frame is padded with silence.
        Raises ValueError when a block follows one that was not.
        """
        if self._vad is None or self._ended:
            raise ValueError("the VAD is closed, or the stream had ended with a partial frame")
        if not len(pcm):
            return np.empty(0, np.float32)
        self._ended = len(pcm) % FRAME != 0
        samples = np.ascontiguousarray(pcm, dtype=np.float32) / np.float32(32768)
        f = self._lib.f
        if not f.vad_detect_speech_no_reset(self._vad, samples.ctypes.data_as(FloatPointer), len(samples)):
            raise RuntimeError("libwhisper's VAD failed")
        count = f.vad_n_probs(self._vad)
        values = ctypes.cast(f.vad_probs(self._vad), ctypes.POINTER(ctypes.c_float * count)).contents
        return np.array(values, np.float32)

    def close(self) -> None:
        """Free the model. Idempotent."""
        if self._vad is not None:
            self._lib.f.vad_free(self._vad)
            self._vad = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
