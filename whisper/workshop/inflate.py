"""The demo model at the size and cost of a real one, for honest measurements where no real weights are at hand.

Every feature of the source (width 128, heads of 64) is repeated k times and the layers beyond its own add zero
to the residual stream: widths, heads, layers, bytes read per token and arithmetic per window are those of the
real model, the text stays the source's. Says nothing about accuracy. Layout of the file: whisper.cpp's
`whisper_model_load`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from whisper.models.store import read_header

Tensor = NDArray[Any]

SIZES = {"base": (4, 6), "small": (6, 12), "medium": (8, 24), "large": (10, 32)}
"""Width as a multiple of 128, and layers of encoder and decoder each."""

_TYPES: dict[int, Any] = {0: np.float32, 1: np.float16}


def inflate(source: Path, target: Path, size: str) -> None:
    """Write `source` (an unquantised ggml file of width 128) to `target` in one of SIZES.

    Raises ModelInvalid when the source is no model, KeyError for another size or a quantised source.
    """
    factor, layers = SIZES[size]
    read_header(source)
    with source.open("rb") as old, target.open("wb") as new:
        magic, *hparams = struct.unpack("<12i", old.read(48))
        own_layers = hparams[4]
        for index in (2, 3, 6, 7):  # state and heads of the encoder, then of the decoder
            hparams[index] *= factor
        hparams[4] = hparams[8] = layers
        new.write(struct.pack("<12i", magic, *hparams))
        _copy_filters_and_vocabulary(old, new)
        tensors = dict(_tensors(old))
        for name, tensor in tensors.items():
            _put(new, name, _widen(name, tensor, factor))
        for side in ("encoder", "decoder"):
            for layer in range(own_layers, layers):
                head = f"{side}.blocks.{layer % own_layers}."
                for name in (name for name in tensors if name.startswith(head)):
                    part = name[len(head) :]
                    wide = _widen(name, tensors[name], factor)
                    if part.startswith(("attn.out", "cross_attn.out", "mlp.2")):
                        wide = np.zeros_like(wide)
                    _put(new, f"{side}.blocks.{layer}.{part}", wide)


def _copy_filters_and_vocabulary(old: BinaryIO, new: BinaryIO) -> None:
    shape = old.read(8)
    rows, columns = struct.unpack("<2i", shape)
    count = old.read(rows * columns * 4 + 4)
    new.write(shape + count)
    for _ in range(struct.unpack("<i", count[-4:])[0]):
        length = old.read(4)
        new.write(length + old.read(struct.unpack("<i", length)[0]))


def _tensors(file: BinaryIO) -> Iterator[tuple[str, Tensor]]:
    while head := file.read(12):
        dimensions, name_length, kind = struct.unpack("<3i", head)
        shape = struct.unpack(f"<{dimensions}i", file.read(4 * dimensions))[::-1]
        name = file.read(name_length).decode()
        dtype = np.dtype(_TYPES[kind])
        yield name, np.frombuffer(file.read(int(np.prod(shape)) * dtype.itemsize), dtype).reshape(shape)


def _widen(name: str, tensor: Tensor, factor: int) -> Tensor:
    """Repeat the feature axes; a matrix is divided, since it now sums over as many times the inputs."""
    values = tensor.astype(np.float32)
    if name.endswith("positional_embedding") or name == "decoder.token_embedding.weight":
        wide: Tensor = np.tile(values, (1, factor))
    elif name == "encoder.conv1.weight":
        wide = np.tile(values, (factor, 1, 1))
    elif name == "encoder.conv2.weight":
        wide = np.tile(values, (factor, factor, 1)) / factor
    elif name in ("encoder.conv1.bias", "encoder.conv2.bias"):
        wide = np.tile(values, (factor, 1))
    elif name in ("decoder.ln.weight", "decoder.ln.bias"):  # the output layer is the embedding, as many times as wide
        wide = np.tile(values, factor) / factor
    elif values.ndim == 1:
        wide = np.tile(values, factor)
    else:
        wide = np.tile(values, (factor, factor)) / factor
    return wide.astype(tensor.dtype)


def _put(file: BinaryIO, name: str, tensor: Tensor) -> None:
    label = name.encode()
    file.write(struct.pack("<3i", tensor.ndim, len(label), 0 if tensor.dtype == np.float32 else 1))
    file.write(struct.pack(f"<{tensor.ndim}i", *tensor.shape[::-1]) + label + tensor.tobytes())
