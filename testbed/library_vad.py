"""libwhisper's own Silero VAD: what ours is compared with, in tests and in `benchmarks/vad.py`."""

from __future__ import annotations

import ctypes
from ctypes import Structure, c_bool, c_char_p, c_int, c_void_p
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whisper.library.libraries import Library
from whisper.library.libwhisper import FloatPointer, LibWhisper, find_library


class ContextParams(Structure):
    """whisper_vad_context_params, 12 bytes."""

    _fields_ = [("n_threads", c_int), ("use_gpu", c_bool), ("gpu_device", c_int)]


class LibraryVad:
    """One stream; freed with the process."""

    def __init__(self, library: Library, model: Path) -> None:
        self._lib = LibWhisper(library.directory)  # loads its parts, and keeps the log quiet
        path = find_library(library.directory)
        assert path is not None
        self._dll = ctypes.CDLL(str(path))
        self._dll.whisper_vad_init_from_file_with_params.restype = c_void_p
        self._dll.whisper_vad_init_from_file_with_params.argtypes = (c_char_p, ContextParams)
        self._dll.whisper_vad_detect_speech_no_reset.restype = c_bool
        self._dll.whisper_vad_probs.restype = FloatPointer
        params = ContextParams(n_threads=1, use_gpu=False)
        self._vad = c_void_p(self._dll.whisper_vad_init_from_file_with_params(str(model).encode(), params))
        assert self._vad
        self._dll.whisper_vad_reset_state(self._vad)

    def feed(self, pcm: NDArray[np.int16]) -> NDArray[np.float32]:
        samples = pcm.astype(np.float32) / np.float32(32768)
        assert self._dll.whisper_vad_detect_speech_no_reset(
            self._vad, samples.ctypes.data_as(FloatPointer), c_int(len(samples))
        )
        count = self._dll.whisper_vad_n_probs(self._vad)
        values = ctypes.cast(self._dll.whisper_vad_probs(self._vad), ctypes.POINTER(ctypes.c_float * count)).contents
        return np.array(values, np.float32)
