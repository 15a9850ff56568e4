"""ggml files of Whisper models, as whisper.cpp's `whisper_model_load` reads them.

    header | mel filters | vocabulary | tensors until the end

All numbers are little-endian int32. Files of other nets (Silero VAD) have another beginning and the same tensors.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from core.errors import ModelInvalid

if TYPE_CHECKING:  # who only looks at headers does without numpy
    from numpy.typing import NDArray

MAGIC = 0x67676D6C
HEADER = struct.Struct("<12i")
"""Magic and the eleven hyper-parameters."""

F32, F16 = 0, 1
FLOATS = {F32: "<f4", F16: "<f2"}
"""numpy's names of the types (ggml.h) that are not quantised."""

_FIRST_MULTILINGUAL_VOCAB = 51_865
_LONGEST_NAME = 256


@dataclass(frozen=True, kw_only=True)
class ModelHeader:
    """Of the hyper-parameters those that are needed here."""

    n_vocab: int
    n_mels: int
    ftype: int

    @property
    def multilingual(self) -> bool:
        return self.n_vocab >= _FIRST_MULTILINGUAL_VOCAB


class ModelUnreadable(ModelInvalid):
    """What has a model's name cannot be read: a link to nothing, a folder, somebody else's file."""


def read_header(path: Path) -> ModelHeader:
    """Read and check a ggml file's header. Raises ModelInvalid when this is no whisper model (or not readable).

    Bounds: engine constants of all published models (1500 audio frames, 448 text tokens, 80 or 128 mels).
    """
    if not os.path.isfile(path):  # a pipe would keep whoever opens it
        raise ModelUnreadable(f"{path.name} is no file, or a link to nothing.", path=str(path))
    try:
        with path.open("rb") as file:
            raw = file.read(HEADER.size)
    except OSError as error:
        raise ModelUnreadable(
            f"The model file {path.name} cannot be read: {error.strerror}.", path=str(path)
        ) from error
    if len(raw) < HEADER.size:
        raise ModelInvalid(f"{path.name} is no model: it has only {len(raw)} bytes.", path=str(path))
    magic, n_vocab, n_audio_ctx, _, _, _, n_text_ctx, *_, n_mels, ftype = HEADER.unpack(raw)
    if magic != MAGIC:
        raise ModelInvalid(f"{path.name} is no ggml model: it does not begin with the ggml magic.", path=str(path))
    plausible = (
        51_864 <= n_vocab <= 52_000
        and n_audio_ctx == 1500
        and n_text_ctx == 448
        and n_mels in (80, 128)
        and 0 <= ftype % 1000 <= 64
    )
    if not plausible:
        raise ModelInvalid(f"{path.name} is a ggml file, but not a whisper model.", path=str(path))
    return ModelHeader(n_vocab=n_vocab, n_mels=n_mels, ftype=ftype % 1000)


@dataclass(frozen=True, kw_only=True)
class TensorHead:
    """What stands before a tensor's values. shape: as numpy has it (the file has it reversed); type: of FLOATS."""

    name: str
    shape: tuple[int, ...]
    type: int

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * (4 if self.type == F32 else 2)


class GgmlReader:
    """Reads an unquantised file from where it is, in the file's order. Raises ModelInvalid where it makes no sense."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._size = file, os.fstat(file.fileno()).st_size

    def read(self, size: int) -> bytes:
        """Exactly so many bytes."""
        if not 0 <= size <= self._size - self._file.tell():
            self._damaged("it ends too early")
        return self._file.read(size)

    def numbers(self, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}i", self.read(4 * count))

    def header(self) -> tuple[int, ...]:
        """The hyper-parameters."""
        magic, *hparams = HEADER.unpack(self.read(HEADER.size))
        if magic != MAGIC:
            self._damaged("it does not begin with the ggml magic")
        return tuple(hparams)

    def filters(self) -> tuple[int, int, bytes]:
        """Mels, bins, and so many values as float32."""
        mels, bins = self.numbers(2)
        return mels, bins, self.read(4 * mels * bins)

    def vocabulary(self) -> list[bytes]:
        """The tokens that the file lists, by number; the special ones are not among them."""
        return [self.read(*self.numbers(1)) for _ in range(*self.numbers(1))]

    def heads(self) -> Iterator[TensorHead]:
        """One for each tensor until the end; whoever takes one reads its values before the next."""
        while self._file.tell() < self._size:
            dimensions, name_length, kind = self.numbers(3)
            if not (0 <= dimensions <= 4 and 0 < name_length <= _LONGEST_NAME and kind in FLOATS):
                self._damaged("a tensor's head makes no sense")
            shape = self.numbers(dimensions)[::-1]
            if min(shape, default=1) < 1:
                self._damaged("a tensor's shape makes no sense")
            yield TensorHead(name=self.read(name_length).decode("utf-8", "replace"), shape=shape, type=kind)

    def tensors(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Each tensor whole, by its name."""
        import numpy as np

        for head in self.heads():
            yield head.name, np.frombuffer(self.read(head.bytes), FLOATS[head.type]).reshape(head.shape)

    def _damaged(self, why: str) -> NoReturn:
        raise ModelInvalid(f"{self._file.name} is damaged: {why}.", path=str(self._file.name))


def packed_filters(mels: int, bins: int, values: bytes) -> bytes:
    """The reverse of `GgmlReader.filters`."""
    return struct.pack("<2i", mels, bins) + values


def packed_vocabulary(tokens: Sequence[bytes]) -> bytes:
    return struct.pack("<i", len(tokens)) + b"".join(struct.pack("<i", len(token)) + token for token in tokens)


def packed_head(name: str, shape: tuple[int, ...], kind: int) -> bytes:
    """What stands before a tensor's values. kind: ggml's number of their type."""
    label = name.encode()
    return struct.pack(f"<{3 + len(shape)}i", len(shape), len(label), kind, *reversed(shape)) + label


def packed_tensor(name: str, tensor: NDArray[Any]) -> bytes:
    """A tensor of float32 or float16."""
    return packed_head(name, tensor.shape, F32 if tensor.dtype == "<f4" else F16) + tensor.tobytes()
