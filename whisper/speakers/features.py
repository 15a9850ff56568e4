"""What the embedding network hears: log-mel energies as Kaldi's `compute-fbank-feats` computes them.

Povey window, 25 ms every 10 ms, pre-emphasis 0.97, no dither, mean of each frame taken out, 80 bands from 20 Hz to 8 kHz
(kaldi, `src/feat/feature-fbank.cc`; the recipe of 3D-Speaker, with which CAM++ was trained).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from core.audio.samples import SAMPLE_RATE

BANDS = 80

_FRAME, _HOP, _FFT = 400, 160, 512
"""Samples."""
_LOWEST, _HIGHEST = 20.0, 8000.0
"""Hz."""
_PRE_EMPHASIS = np.float32(0.97)
_FLOOR = np.float32(np.finfo(np.float32).eps)

Floats = NDArray[np.float32]


def log_mel(samples: Floats) -> Floats:
    """Samples in [-1, 1) at 16 kHz -> shape (frames, 80), the mean of each band over the whole taken out.

    What is shorter than one frame is filled up with silence.
    """
    if len(samples) < _FRAME:
        samples = np.pad(samples, (0, _FRAME - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, _FRAME)[::_HOP].astype(np.float32)
    frames -= frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    spectrum = np.fft.rfft((frames - _PRE_EMPHASIS * before) * _window(), _FFT).astype(np.complex64)
    energies = (spectrum.real**2 + spectrum.imag**2) @ _bands()
    features: Floats = np.log(np.maximum(energies, _FLOOR))
    features -= features.mean(axis=0)
    return features


@cache
def _window() -> Floats:
    """Povey's: a Hann window to the power of 0.85."""
    return (np.hanning(_FRAME) ** 0.85).astype(np.float32)


@cache
def _bands() -> Floats:
    """Triangles on the mel scale, shape (257, 80); the highest bin is in none of them, as in Kaldi."""
    edges = np.linspace(float(_mel(_LOWEST)), float(_mel(_HIGHEST)), BANDS + 2)
    bins = _mel(SAMPLE_RATE / _FFT * np.arange(_FFT // 2))[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.pad(np.maximum(0, np.minimum(rising, falling)), ((0, 1), (0, 0))).astype(np.float32)


def _mel(hertz: float | NDArray[np.floating]) -> NDArray[np.float64]:
    return 1127.0 * np.log(1.0 + np.asarray(hertz, np.float64) / 700.0)
