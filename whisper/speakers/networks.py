"""The two networks by onnxruntime, in this process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from core.audio.samples import Pcm
from core.errors import ModelInvalid
from whisper.speakers.features import log_mel
from whisper.speakers.frames import FIELD, WINDOW, Classes

VERSION = f"onnxruntime {onnxruntime.__version__}"


class OnnxNetworks:
    """One thread computes each call: many calls at once use many cores better than one call with many threads.

    The files: pyannote segmentation 3.0 (x (n, 1, samples) -> y (n, frames, 7), log-probabilities) and CAM++ of 3D-Speaker
    (x (n, frames, 80) -> embedding (n, 192)). Raises ModelInvalid; calls raise ValueError for what is too short or too long.
    """

    def __init__(self, segmentation: Path, embedding: Path) -> None:
        self._segmentation, self._embedding = _session(segmentation), _session(embedding)

    def classes(self, window: Pcm) -> Classes:
        if not FIELD <= len(window) <= WINDOW:
            raise ValueError(f"a window has {FIELD} to {WINDOW} samples, not {len(window)}")
        found: NDArray[np.float32] = self._segmentation.run(None, {"x": _floats(window)[None, None]})[0][0]
        classes: Classes = found.argmax(axis=-1).astype(np.uint8)
        return classes

    def voice(self, piece: Pcm) -> NDArray[np.float32]:
        if not 0 < len(piece) <= WINDOW:
            raise ValueError(f"a piece has up to {WINDOW} samples, not {len(piece)}")
        vector: NDArray[np.float32] = self._embedding.run(None, {"x": log_mel(_floats(piece))[None]})[0][0]
        return vector


def _floats(pcm: Pcm) -> NDArray[np.float32]:
    return np.multiply(pcm, np.float32(1 / 32768), dtype=np.float32)


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # it keeps the most that was ever needed
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors have no common class
        raise ModelInvalid(f"The model {path.name} cannot be loaded: {error}") from error
