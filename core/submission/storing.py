"""A stream into the object store: its beginning looked at, measured and hashed on its way."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import BinaryIO, Protocol, cast

from core.audio.sniff import HEAD_BYTES
from core.jobs.job import Source
from core.objects.store import ObjectStore


class Readable(Protocol):
    """`read(n)` gives n bytes unless the end comes first."""

    def read(self, size: int = -1, /) -> bytes: ...


def store_file(
    objects: ObjectStore,
    key: str,
    filename: str,
    data: Readable,
    *,
    media_type: Callable[[bytes], str],
    check_size: Callable[[int], None],
) -> Source:
    """The file, stored under that key.

    media_type: of a file that begins so (HEAD_BYTES); check_size: told of the bytes so far. Raises what these, reading and
    storing raise; then nothing is left.
    """
    head = data.read(HEAD_BYTES)
    kind = media_type(head)
    hashed = _Hashed(head, data, check_size)
    size = objects.put(key, cast(BinaryIO, hashed), media_type=kind)
    return Source(filename=filename, bytes=size, media_type=kind, sha256=hashed.digest.hexdigest(), key=key)


class _Hashed(io.RawIOBase):
    """A file whose beginning was read already, hashed and measured as it is read."""

    def __init__(self, head: bytes, data: Readable, check_size: Callable[[int], None]) -> None:
        self.digest = hashlib.sha256()
        self._head, self._data, self._check_size, self._size = head, data, check_size, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            data = self._head + self._data.read()
        else:
            data = self._head[:size]
            data += self._data.read(size - len(data)) if len(data) < size else b""
        self._head = self._head[len(data) :]
        self._size += len(data)
        self._check_size(self._size)
        self.digest.update(data)
        return data
