"""The weights of Silero VAD v6 and the part of it that looks at each frame alone.

The net (Silero Team, snakers4/silero-vad, MIT; as whisper.cpp reads and computes it, `whisper_vad_*`): a
short-time Fourier transform as a convolution, four convolutions, an LSTM of 128 units, one output. Only the LSTM
remembers, so all before it is done for many frames at once, as a few large matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from core.errors import ModelInvalid
from core.speech.regions import FRAME
from whisper.models.ggml import MAGIC, GgmlReader

UNITS = 128
"""Of the LSTM."""

Floats = NDArray[np.float32]

_KIND, _MAJOR = b"silero-16k", 6
_MIRRORED, _WINDOW, _HOP, _STEPS, _BANDS = 64, 256, 128, 4, 129
"""Samples mirrored at each end of a frame; the transform's window and hop in samples, its steps per frame and its bands."""
_SHAPES = {
    "_model.stft.forward_basis_buffer": (2 * _BANDS, 1, _WINDOW),
    "_model.encoder.0.reparam_conv.weight": (128, _BANDS, 3),
    "_model.encoder.0.reparam_conv.bias": (128,),
    "_model.encoder.1.reparam_conv.weight": (64, 128, 3),
    "_model.encoder.1.reparam_conv.bias": (64,),
    "_model.encoder.2.reparam_conv.weight": (64, 64, 3),
    "_model.encoder.2.reparam_conv.bias": (64,),
    "_model.encoder.3.reparam_conv.weight": (128, 64, 3),
    "_model.encoder.3.reparam_conv.bias": (128,),
    "_model.decoder.rnn.weight_ih": (4 * UNITS, UNITS),
    "_model.decoder.rnn.bias_ih": (4 * UNITS,),
    "_model.decoder.rnn.weight_hh": (4 * UNITS, UNITS),
    "_model.decoder.rnn.bias_hh": (4 * UNITS,),
    "_model.decoder.decoder.2.weight": (UNITS,),
    "_model.decoder.decoder.2.bias": (),
}


@dataclass(frozen=True, kw_only=True)
class SileroModel:
    """Weights, turned and joined for the products they are used in; safe to share between threads and after fork.

    The LSTM's gates are in the order input, forget, output, cell, and the first three are halved: with
    sigmoid(x) = (1 + tanh(x / 2)) / 2 one tanh does for all four.

    basis: (256, 258), cosines then sines; convolutions: (taps x channels in, channels out) with their biases, less the
    taps that only ever see the zeros beside a frame; inputs: (128, 512), bias: (512,); recurrent: (512, 128);
    output: (128,)
    """

    basis: Floats
    convolutions: tuple[tuple[Floats, Floats], ...]
    inputs: Floats
    bias: Floats
    recurrent: Floats
    output: Floats
    output_bias: float

    @classmethod
    def read(cls, path: Path) -> Self:
        """Of a ggml Silero file. Raises ModelInvalid."""
        try:
            with path.open("rb") as file:
                tensors = _tensors(GgmlReader(file))
        except OSError as error:
            raise ModelInvalid(f"The VAD model {path} cannot be read: {error.strerror}.") from error
        except (ModelInvalid, ValueError, KeyError) as error:
            raise ModelInvalid(f"The VAD model {path} is not Silero VAD v6 in ggml's format.") from error
        order = np.r_[
            0 : 2 * UNITS, 3 * UNITS : 4 * UNITS, 2 * UNITS : 3 * UNITS
        ]  # in the file: input, forget, cell, output
        halved = np.repeat(np.array([0.5, 1.0], np.float32), [3 * UNITS, UNITS])
        bias = tensors["_model.decoder.rnn.bias_ih"] + tensors["_model.decoder.rnn.bias_hh"]
        # the third convolution's one step starts at the zeros before the frame, the fourth's has zeros on both sides
        taps = (slice(0, 3), slice(0, 3), slice(1, 3), slice(1, 2))
        convolutions = []
        for number, kept in enumerate(taps):
            weight = tensors[f"_model.encoder.{number}.reparam_conv.weight"].transpose(2, 1, 0)[kept]
            flat = np.ascontiguousarray(weight.reshape(-1, weight.shape[-1]))
            convolutions.append((flat, tensors[f"_model.encoder.{number}.reparam_conv.bias"]))
        return cls(
            basis=np.ascontiguousarray(tensors["_model.stft.forward_basis_buffer"][:, 0].T),
            convolutions=tuple(convolutions),
            inputs=np.ascontiguousarray((tensors["_model.decoder.rnn.weight_ih"][order] * halved[:, None]).T),
            bias=bias[order] * halved,
            recurrent=np.ascontiguousarray(tensors["_model.decoder.rnn.weight_hh"][order] * halved[:, None]),
            output=tensors["_model.decoder.decoder.2.weight"],
            output_bias=float(tensors["_model.decoder.decoder.2.bias"]),
        )

    def gates(self, frames: Floats) -> Floats:
        """What each of the frames, shape (n, 512) in [-1, 1), adds to the LSTM's gates: shape (n, 512)."""
        count = len(frames)
        before, after = frames[:, _MIRRORED:0:-1], frames[:, -2 : -2 - _MIRRORED : -1]
        padded = np.concatenate([before, frames, after], axis=1)
        windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW, axis=1)[:, ::_HOP]
        waves = windows.reshape(-1, _WINDOW) @ self.basis
        loudness = np.sqrt(waves[:, :_BANDS] ** 2 + waves[:, _BANDS:] ** 2).reshape(count, _STEPS, _BANDS)
        first, second, third, fourth = self.convolutions
        x = _beside(loudness, before=1, after=1)
        x = _layer(np.concatenate([x[:, :-2], x[:, 1:-1], x[:, 2:]], axis=2).reshape(count * _STEPS, -1), first)
        x = _beside(x.reshape(count, _STEPS, -1), before=1, after=0)
        x = _layer(np.stack([x[:, 0:3], x[:, 2:5]], axis=1).reshape(count * 2, -1), second)
        x = _layer(x.reshape(count, -1), third)
        x = _layer(x, fourth)
        gates: Floats = x @ self.inputs + self.bias
        return gates


def _beside(x: Floats, *, before: int, after: int) -> Floats:
    """With steps of zeros before and after, as the convolutions pad each frame."""
    padded = np.zeros((len(x), before + x.shape[1] + after, x.shape[2]), np.float32)
    padded[:, before : before + x.shape[1]] = x
    return padded


def _layer(x: Floats, layer: tuple[Floats, Floats]) -> Floats:
    weight, bias = layer
    result: Floats = np.maximum(x @ weight + bias, 0)
    return result


def _tensors(reader: GgmlReader) -> dict[str, Floats]:
    """Name -> float32 array. Raises ModelInvalid, ValueError or KeyError for anything but the net described above."""
    magic, length = reader.numbers(2)
    kind = reader.read(length)
    major, _, _, window, _, layers = reader.numbers(6)
    if (magic, kind, major, window, layers) != (MAGIC, _KIND, _MAJOR, FRAME, 4):
        raise ValueError("another kind of file")
    reader.numbers(3 * layers + 4)  # sizes, which the tensors have again
    found: dict[str, Floats] = {}
    for name, values in reader.tensors():
        found[name] = values.astype(np.float32).reshape(_SHAPES[name])
        if not np.isfinite(found[name]).all():
            raise ValueError(f"{name} is not finite")
    if found.keys() != _SHAPES.keys():
        raise ValueError("tensors are missing")
    return found
