"""The index of a CTranslate2 model file, and its variables read piece by piece.

File layout: `ModelSpec._serialize` of CTranslate2 (python/ctranslate2/specs/model_spec.py), binary version 6. All numbers
are little-endian; a string is its length with the closing NUL (2 bytes) and its bytes.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from core.errors import ModelInvalid

FLOAT16 = 4
"""CTranslate2's number of the type (include/ctranslate2/types.h)."""

_SIZES = {0: 4, 1: 1, 2: 2, 3: 4, FLOAT16: 2, 5: 2}
"""Bytes of a value by type: float32, int8, int16, int32, float16, bfloat16."""
_BINARY_VERSION = 6
_SPEC = "WhisperSpec"
_BLOCK = 1 << 18


@dataclass(frozen=True, kw_only=True)
class Variable:
    """Where one array lies. shape: () is a scalar; offset, bytes: in the file; type: see FLOAT16."""

    shape: tuple[int, ...]
    type: int
    offset: int
    bytes: int


class Ct2File:
    """A Whisper model of CTranslate2 in a seekable file, of which only the index is in memory.

    variables: by name, aliases included

    Raises ModelInvalid when it is none.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._end = file.seek(0, os.SEEK_END)
        file.seek(0)
        version, spec, _ = self._number("<I"), self._string(), self._number("<I")
        if (version, spec) != (_BINARY_VERSION, _SPEC):
            raise ModelInvalid(f"this is no CTranslate2 Whisper model of binary version {_BINARY_VERSION}")
        self.variables: dict[str, Variable] = {}
        for _ in range(self._number("<I")):
            name = self._string()
            self.variables[name] = self._skip()
        for _ in range(self._number("<I")):
            alias, name = self._string(), self._string()
            self.variables[alias] = self[name]

    def __getitem__(self, name: str) -> Variable:
        try:
            return self.variables[name]
        except KeyError:
            raise ModelInvalid(f"the CTranslate2 model has no {name}") from None

    def blocks(self, name: str, first: int = 0, size: int | None = None) -> Iterator[bytes]:
        """The bytes of a variable from its byte `first` on (size None = all), a quarter of a MiB at a time."""
        variable = self[name]
        left = variable.bytes - first if size is None else size
        self._file.seek(variable.offset + first)
        while left > 0:
            block = self._read(min(left, _BLOCK))
            left -= len(block)
            yield block

    def scalar(self, name: str) -> int:
        """A variable that is one small whole number."""
        if self[name].bytes > 2:
            raise ModelInvalid(f"{name} of the CTranslate2 model is no small number")
        return int.from_bytes(b"".join(self.blocks(name)), "little")

    def _skip(self) -> Variable:
        """Past one variable."""
        shape = tuple(self._number("<I") for _ in range(self._number("<B")))
        kind, size = self._number("<B"), self._number("<I")
        variable = Variable(shape=shape, type=kind, offset=self._file.tell(), bytes=size)
        if size != math.prod(shape) * _SIZES.get(kind, 0) or variable.offset + size > self._end:
            raise ModelInvalid("the CTranslate2 model is damaged or cut off")
        self._file.seek(size, os.SEEK_CUR)
        return variable

    def _number(self, form: str) -> int:
        return int(struct.unpack(form, self._read(struct.calcsize(form)))[0])

    def _string(self) -> str:
        return self._read(self._number("<H"))[:-1].decode("utf-8", "replace")

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) != size:
            raise ModelInvalid("the CTranslate2 model is cut off")
        return data
