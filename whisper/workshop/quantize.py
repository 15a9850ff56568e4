"""A quantised copy of a model, made with libggml's own quantiser: smaller, and on many CPUs faster.

Which tensors are quantised follows whisper.cpp's `quantize` example (examples/quantize/quantize.cpp and
`ggml_common_quantize_0`): all matrices; biases, norms, convolutions and positions stay as they are. Convolutions
of an f32 model become f16, because that is what libwhisper expects of them in any quantised file.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import filelock
import numpy as np
from numpy.typing import NDArray

from core.errors import EngineUnavailable, ModelInvalid, ModelUnavailable, ValidationFailed
from core.system.disk import disk_full
from whisper.library.libwhisper import find_library
from whisper.models.ggml import (
    F16,
    FLOATS,
    HEADER,
    MAGIC,
    GgmlReader,
    TensorHead,
    packed_filters,
    packed_head,
    packed_vocabulary,
    read_header,
)

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

_AS_THEY_ARE = (".bias", "positional_embedding")
_SLAB = 1 << 20
"""Values in memory at once (4 MiB as f32): a large model's embedding alone would be 265 MB."""


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
    if read_header(source).ftype not in FLOATS:
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
    """One pass over the source."""

    def __init__(self, old: BinaryIO, new: BinaryIO, packer: _Packer, progress: Progress | None) -> None:
        self._old, self._new, self._packer, self._progress = old, new, packer, progress
        self._reader, self._total = GgmlReader(old), os.fstat(old.fileno()).st_size

    def run(self) -> None:
        *hparams, _ = self._reader.header()
        self._new.write(HEADER.pack(MAGIC, *hparams, _VERSION + self._packer.kind.file))
        self._new.write(packed_filters(*self._reader.filters()))
        self._new.write(packed_vocabulary(self._reader.vocabulary()))
        tensors = 0
        for head in self._reader.heads():
            self._tensor(head)
            tensors += 1
        if not tensors:
            raise ModelInvalid(f"{self._old.name} is damaged: it has no weights.", path=str(self._old.name))

    def _tensor(self, head: TensorHead) -> None:
        new_type, convert = self._conversion(head)
        self._new.write(packed_head(head.name, head.shape, new_type))
        columns, dtype = (1, *head.shape)[-1], np.dtype(FLOATS[head.type])
        rows = head.bytes // (columns * dtype.itemsize)
        step = max(1, _SLAB // columns)
        for first in range(0, rows, step):
            data = self._reader.read(min(step, rows - first) * columns * dtype.itemsize)
            self._new.write(data if convert is None else convert(np.frombuffer(data, dtype).reshape(-1, columns)))
            if self._progress is not None:
                self._progress(self._old.tell(), self._total)

    def _conversion(self, head: TensorHead) -> tuple[int, Callable[[NDArray[Any]], bytes] | None]:
        """The type a tensor is to have and how its rows get there; None = as they are."""
        if len(head.shape) == 2 and not head.name.endswith(_AS_THEY_ARE):
            self._packer.check(head.shape[-1])
            return self._packer.kind.type, self._packer.pack
        if len(head.shape) == 3:
            return F16, lambda values: values.astype(FLOATS[F16]).tobytes()
        return head.type, None


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
