"""The demo model at the size and cost of a real one, for honest measurements where no real weights are at hand.

Every feature of the source (width 128, heads of 64) is repeated k times and the layers beyond its own add zero
to the residual stream: widths, heads, layers, bytes read per token and arithmetic per window are those of the
real model, the text stays the source's. Says nothing about accuracy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper.models.ggml import HEADER, MAGIC, GgmlReader, packed_filters, packed_tensor, packed_vocabulary, read_header

Tensor = NDArray[Any]

SIZES = {"base": (4, 6), "small": (6, 12), "medium": (8, 24), "large": (10, 32)}
"""Width as a multiple of 128, and layers of encoder and decoder each."""


def inflate(source: Path, target: Path, size: str) -> None:
    """Write `source` (an unquantised ggml file of width 128) to `target` in one of SIZES.

    Raises ModelInvalid when the source is no model or is quantised, KeyError for another size.
    """
    factor, layers = SIZES[size]
    read_header(source)
    with source.open("rb") as old, target.open("wb") as new:
        reader = GgmlReader(old)
        hparams = list(reader.header())
        own_layers = hparams[4]
        for index in (2, 3, 6, 7):  # state and heads of the encoder, then of the decoder
            hparams[index] *= factor
        hparams[4] = hparams[8] = layers
        new.write(HEADER.pack(MAGIC, *hparams))
        new.write(packed_filters(*reader.filters()))
        new.write(packed_vocabulary(reader.vocabulary()))
        tensors = dict(reader.tensors())
        for name, tensor in tensors.items():
            new.write(packed_tensor(name, _widen(name, tensor, factor)))
        for side in ("encoder", "decoder"):
            for layer in range(own_layers, layers):
                head = f"{side}.blocks.{layer % own_layers}."
                for name in (name for name in tensors if name.startswith(head)):
                    part = name[len(head) :]
                    wide = _widen(name, tensors[name], factor)
                    if part.startswith(("attn.out", "cross_attn.out", "mlp.2")):
                        wide = np.zeros_like(wide)
                    new.write(packed_tensor(f"{side}.blocks.{layer}.{part}", wide))


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
