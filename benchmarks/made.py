"""Models of true size and cost, made from the demo model and kept in the user's cache folder.

Their text is the demo model's; their weights, arithmetic and memory are those of the real ones (whisper.inflate).
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from whisper.inflate import _copy_filters_and_vocabulary, _tensors, inflate
from whisper.libraries import candidates

DEMO = Path(__file__).parents[1] / "whisper/data/models/ggml-demo.bin"

QUANTISED = {"q8_0": (8, 7), "q4_K": (12, 12)}
"""ggml's type of the weights, and the file type in the header (ggml.h: ggml_type, ggml_ftype)."""

_VERSION = 2  # GGML_QNT_VERSION, times 1000 in the file type


def folder() -> Path:
    """Where made models are kept; a name of its own for each demo model."""
    digest = hashlib.sha256(DEMO.read_bytes()).hexdigest()[:8]
    return platformdirs.user_cache_path("parascribe") / "benchmarks" / digest


def model(size: str, kind: str) -> Path:
    """`base`, `small` or `medium` as `f16`, `q8_0` or `q4_K`; made on first use (a second to half a minute)."""
    path = folder() / f"ggml-{size}-like-{kind}.bin"
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        if kind == "f16":
            inflate(DEMO, part, size)
        else:
            quantise(model(size, "f16"), part, kind)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def quantise(source: Path, target: Path, kind: str) -> None:
    """Quantise matrices with libggml's own routine; biases, norms, convolutions and positions stay as they are."""
    weights, file_type = QUANTISED[kind]
    ggml = _libggml()
    with source.open("rb") as old, target.open("wb") as new:
        new.write(old.read(44) + struct.pack("<i", 1000 * _VERSION + file_type))
        old.read(4)
        _copy_filters_and_vocabulary(old, new)
        for name, tensor in _tensors(old):
            label, stored, data = name.encode(), 0 if tensor.dtype == np.float32 else 1, tensor.tobytes()
            if tensor.ndim == 2 and not name.endswith((".bias", "positional_embedding")):
                stored, data = weights, _packed(ggml, weights, tensor)
            new.write(struct.pack("<3i", tensor.ndim, len(label), stored))
            new.write(struct.pack(f"<{tensor.ndim}i", *tensor.shape[::-1]) + label + data)


def _packed(ggml: Any, weights: int, tensor: Any) -> bytes:
    rows, columns = tensor.shape
    values = np.ascontiguousarray(tensor, dtype=np.float32)
    out = ctypes.create_string_buffer(ggml.ggml_row_size(weights, columns) * rows)
    ggml.ggml_quantize_chunk(weights, values.ctypes.data, out, 0, rows, columns, None)
    return out.raw


def _libggml() -> Any:
    for library in candidates(None, None):
        for path in sorted(library.directory.glob("libggml-base.*")):
            ggml = ctypes.CDLL(str(path))
            ggml.ggml_row_size.restype = ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
            ggml.ggml_row_size.argtypes = (ctypes.c_int, ctypes.c_int64)
            ggml.ggml_quantize_chunk.argtypes = (
                ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p,
            )  # fmt: skip
            return ggml
    raise FileNotFoundError("libggml-base came with no library here")
