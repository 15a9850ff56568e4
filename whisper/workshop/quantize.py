"""A quantised copy of a model, made with libggml's own quantiser: smaller, and on many CPUs faster.

Which tensors are quantised follows whisper.cpp's `quantize` example (examples/quantize/quantize.cpp and
`ggml_common_quantize_0`): all matrices; biases, norms, convolutions and positions stay as they are. Convolutions
of an f32 model become f16, because that is what libwhisper expects of them in any quantised file.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import filelock
import numpy as np
from numpy.typing import NDArray

from core.errors import EngineUnavailable, ModelInvalid, ModelUnavailable, ValidationFailed
from core.system.disk import disk_full
from whisper.library.libwhisper import find_library
from whisper.models.store import HEADER, read_header

Progress = Callable[[int, int], object]
"""Called with the bytes of the source done so far and in all."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """type: ggml's number of the weights' type; file: the number of a file that is mostly of it (ggml.h)."""

    type: int
    file: int


KINDS = {
    "q8_0": Kind(type=8, file=7),
    "q5_1": Kind(type=7, file=9),
    "q5_0": Kind(type=6, file=8),
    "q4_0": Kind(type=2, file=2),
    "q4_K": Kind(type=12, file=12),
}
"""By descending size."""

_VERSION = 2000
"""GGML_QNT_VERSION x GGML_QNT_VERSION_FACTOR, which the file type is written with."""

_F32, _F16 = 0, 1
_FLOATS: dict[int, Any] = {_F32: np.dtype("<f4"), _F16: np.dtype("<f2")}
_AS_THEY_ARE = (".bias", "positional_embedding")
_SLAB = 1 << 20
"""Values in memory at once (4 MiB as f32): a large model's embedding alone would be 265 MB."""
_LONGEST_NAME = 256


def own_stem(name: str, kind: str) -> str:
    """What the quantised copy of a model is called: `base` as q8_0 is `ggml-base-q8_0-own.bin`, asked for as `local:base-q8_0-own`.

    `-own` tells it from the published file `base-q8_0`, whose checksum it would not have.
    """
    return f"{name.removeprefix('local:')}-{kind}-own"


def quantize(source: Path, target: Path, kind: str, *, library: Path, progress: Progress | None = None) -> None:
    """Write the f16 or f32 model `source` to `target` in one of KINDS. Memory stays below 50 MB whatever its size.

    library: folder of the libwhisper whose libggml does it
    target: appears when complete; the folder is made if missing

    Raises ValidationFailed (no such kind, a source that is quantised already, rows that do not fit the kind),
    ModelInvalid (damaged source), ModelUnavailable (cannot be read or written), DiskFull, EngineUnavailable.
    """
    if kind not in KINDS:
        raise ValidationFailed(f"There is no quantisation {kind!r}: choose one of {', '.join(KINDS)}.")
    if read_header(source).ftype not in _FLOATS:
        raise ValidationFailed(f"{source.name} is quantised already: start from the f16 model.")
    packer = _Packer(library, kind)
    part = target.with_name(f".{target.name}.part")
    with _disk_errors(source, target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(target.with_name(f".{target.name}.lock")):
            try:
                with source.open("rb") as old, part.open("wb") as new:
                    _Copy(old, new, packer, progress).run()
                    new.flush()
                    os.fsync(new.fileno())
                os.replace(part, target)
            finally:
                part.unlink(missing_ok=True)
        _sync(target.parent)


class _Copy:
    """One pass over the source. File layout: whisper.cpp's `whisper_model_load`."""

    def __init__(self, old: BinaryIO, new: BinaryIO, packer: _Packer, progress: Progress | None) -> None:
        self._old, self._new, self._packer, self._progress = old, new, packer, progress
        self._total = os.fstat(old.fileno()).st_size

    def run(self) -> None:
        *hparams, _ = HEADER.unpack(self._read(HEADER.size))
        self._new.write(HEADER.pack(*hparams, _VERSION + self._packer.kind.file))
        self._filters_and_vocabulary()
        tensors = 0
        while self._old.tell() < self._total:
            self._tensor()
            tensors += 1
        if not tensors:
            self._damaged("it has no weights")

    def _filters_and_vocabulary(self) -> None:
        mels, bins = struct.unpack("<2i", shape := self._read(8))
        self._new.write(shape + self._read(mels * bins * 4))
        self._new.write(count := self._read(4))
        for _ in range(*struct.unpack("<i", count)):
            self._new.write(length := self._read(4))
            self._new.write(self._read(*struct.unpack("<i", length)))

    def _tensor(self) -> None:
        dimensions, name_length, stored = struct.unpack("<3i", self._read(12))
        if not (1 <= dimensions <= 4 and 0 < name_length <= _LONGEST_NAME and stored in _FLOATS):
            self._damaged("a tensor's head makes no sense")
        shape = struct.unpack(f"<{dimensions}i", sizes := self._read(4 * dimensions))  # the length of a row first
        if min(shape) < 1:
            self._damaged("a tensor's shape makes no sense")
        name = self._read(name_length)
        new_type, convert = self._conversion(name.decode("utf-8", "replace"), shape)
        self._new.write(
            struct.pack("<3i", dimensions, name_length, stored if new_type is None else new_type) + sizes + name
        )
        columns, rows = shape[0], int(np.prod(shape[1:], dtype=np.int64))
        step = max(1, _SLAB // columns)
        dtype = _FLOATS[stored]
        for first in range(0, rows, step):
            data = self._read(min(step, rows - first) * columns * dtype.itemsize)
            self._new.write(data if convert is None else convert(np.frombuffer(data, dtype).reshape(-1, columns)))
            if self._progress is not None:
                self._progress(self._old.tell(), self._total)

    def _conversion(
        self, name: str, shape: tuple[int, ...]
    ) -> tuple[int | None, Callable[[NDArray[Any]], bytes] | None]:
        """The type a tensor is to have and how its rows get there; None = as they are."""
        if len(shape) == 2 and not name.endswith(_AS_THEY_ARE):
            self._packer.check(shape[0])
            return self._packer.kind.type, self._packer.pack
        if len(shape) == 3:
            return _F16, lambda values: values.astype(_FLOATS[_F16]).tobytes()
        return None, None

    def _read(self, size: int) -> bytes:
        """Exactly so many bytes."""
        if not 0 <= size <= self._total - self._old.tell():
            self._damaged("it ends too early")
        return self._old.read(size)

    def _damaged(self, why: str) -> NoReturn:
        raise ModelInvalid(f"{self._old.name} is damaged: {why}.", path=str(self._old.name))


class _Packer:
    """Rows of floats to blocks of one kind. Raises EngineUnavailable when the library has no quantiser."""

    def __init__(self, library: Path, name: str) -> None:
        self.kind, self._name = KINDS[name], name
        ggml = _ggml(library)
        self._quantize, self._row_size = ggml.ggml_quantize_chunk, ggml.ggml_row_size
        self._quantize.restype = self._row_size.restype = ctypes.c_size_t
        self._quantize.argtypes = (ctypes.c_int, *(ctypes.c_void_p,) * 2, *(ctypes.c_int64,) * 3, ctypes.c_void_p)
        self._row_size.argtypes = (ctypes.c_int, ctypes.c_int64)
        ggml.ggml_blck_size.restype, ggml.ggml_blck_size.argtypes = ctypes.c_int64, (ctypes.c_int,)
        self._block = ggml.ggml_blck_size(self.kind.type)

    def check(self, columns: int) -> None:
        """Raises ValidationFailed for rows that are no whole number of blocks: libggml would abort the process."""
        if columns % self._block:
            raise ValidationFailed(
                f"{self._name} packs {self._block} values at a time, which rows of {columns} are no multiple of: "
                "this model is too narrow for it. Use q4_0 or q8_0."
            )

    def pack(self, rows: NDArray[Any]) -> bytes:
        count, columns = rows.shape
        values = np.ascontiguousarray(rows, dtype=np.float32)
        packed = ctypes.create_string_buffer(self._row_size(self.kind.type, columns) * count)
        if self._quantize(self.kind.type, values.ctypes.data, packed, 0, count, columns, None) != len(packed):
            raise EngineUnavailable("libggml has packed another number of bytes than it said it would.")
        return packed.raw


def _ggml(library: Path) -> ctypes.CDLL:
    """libwhisper brings in its libggml, whatever that is called (wheels rename it); without an RPATH it has to be named."""
    for path in (find_library(library), library / "libggml-base.so"):
        try:
            ggml = ctypes.CDLL(str(path))
            if path is not None and ggml.ggml_quantize_chunk:
                return ggml
        except (OSError, AttributeError):
            continue
    raise EngineUnavailable(f"There is no libggml with a quantiser in {library}.")


@contextmanager
def _disk_errors(source: Path, target: Path) -> Iterator[None]:
    try:
        with disk_full(f"There is no space left for the model file {target}.", path=str(target)):
            yield
    except OSError as error:
        raise ModelUnavailable(f"{target} cannot be made from {source}: {error.strerror}.") from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
