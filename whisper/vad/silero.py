"""Speech probabilities by Silero VAD, streamed over audio of any length.

The same weights and sums as whisper.cpp's VAD, which computes frame by frame; here the frames of a block share their
products. A third of its CPU time, the same probabilities within 0.02 (`tests/whisper/test_vad.py`, `benchmarks/vad.py`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.audio.samples import Pcm
from core.speech.regions import FRAME
from whisper.vad.model import UNITS, Floats, SileroModel

TOGETHER = 64
"""Frames per round: 2 s, whose intermediate values stay in the CPU's cache."""


class SileroVad:
    """Feeds PCM to the VAD without resetting it, so that blocks give what one pass over the whole would, up to rounding.

    One thread at a time. Its products are too small to be shared between cores: see `core.system.processes.one_blas_thread`.
    """

    def __init__(self, model: SileroModel) -> None:
        self._model = model
        self._hidden = np.zeros(UNITS, np.float32)
        self._cell = np.zeros(UNITS, np.float32)
        self._ended = False

    def feed(self, pcm: Pcm) -> Floats:
        """Next block of mono 16 kHz samples -> one speech probability per 512 samples, shape (ceil(n / 512),).

        All blocks but the last must be a multiple of 512 samples; a last partial frame is padded with silence.
        Raises ValueError when a block follows one that was not.
        """
        if self._ended:
            raise ValueError("the stream had ended with a partial frame")
        missing = -len(pcm) % FRAME
        self._ended = missing != 0
        frames = (np.pad(pcm, (0, missing)) if missing else pcm).reshape(-1, FRAME)
        rounds = [self._round(frames[n : n + TOGETHER]) for n in range(0, len(frames), TOGETHER)]
        return np.concatenate([np.empty(0, np.float32), *rounds])

    def _round(self, frames: NDArray[np.int16]) -> Floats:
        model = self._model
        hidden = self._remember(model.gates(frames.astype(np.float32) / np.float32(32768)))
        score = np.maximum(hidden, 0) @ model.output + model.output_bias
        probabilities: Floats = np.float32(0.5) * (1 + np.tanh(np.float32(0.5) * score))
        return probabilities

    def _remember(self, gates: Floats) -> Floats:
        """The LSTM: shape (n, 512) -> its output after each frame, shape (n, 128). Overwrites `gates`.

        Arrays are reused and calls kept few: at this size a call of numpy costs as much as its sums.
        """
        recurrent, cell, half = self._model.recurrent, self._cell, np.float32(0.5)
        dot, add, multiply, tanh = np.dot, np.add, np.multiply, np.tanh
        outputs = np.empty((len(gates), UNITS), np.float32)
        hidden, carried, squashed = self._hidden, np.empty(4 * UNITS, np.float32), np.empty(UNITS, np.float32)
        for gate, output in zip(gates, outputs, strict=True):
            dot(recurrent, hidden, carried)
            add(gate, carried, gate)
            tanh(gate, gate)
            sigmoids = gate[: 3 * UNITS]
            multiply(sigmoids, half, sigmoids)
            add(sigmoids, half, sigmoids)
            candidate = gate[3 * UNITS :]
            multiply(gate[:UNITS], candidate, candidate)
            multiply(gate[UNITS : 2 * UNITS], cell, cell)
            add(cell, candidate, cell)
            tanh(cell, squashed)
            multiply(gate[2 * UNITS : 3 * UNITS], squashed, output)
            hidden = output
        self._hidden = hidden.copy()
        return outputs
