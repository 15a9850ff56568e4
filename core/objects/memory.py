"""Objects in memory: the twin of the real stores, for tests of everything above them."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from core.objects.store import check_key


class MemoryObjects:
    """An `ObjectStore` that forgets everything with its process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[str, tuple[bytes, float]] = {}

    def put(self, key: str, data: BinaryIO, *, media_type: str = "application/octet-stream") -> int:
        check_key(key)
        content = b"".join(iter(lambda: data.read(1 << 20), b""))
        with self._lock:
            self._objects[key] = (content, time.time())
        return len(content)

    def open(self, key: str, *, offset: int = 0) -> BinaryIO:
        with self._lock:
            stream = io.BytesIO(self._objects[check_key(key)][0])
        stream.seek(offset)
        return stream

    def local_path(self, key: str) -> Path | None:
        check_key(key)
        return None

    def delete(self, key: str) -> None:
        with self._lock:
            self._objects.pop(check_key(key), None)

    def keys(self, prefix: str, *, older_than: float = 0.0) -> Iterator[str]:
        latest = time.time() - older_than
        with self._lock:
            found = sorted(
                key for key, (_, written) in self._objects.items() if key.startswith(prefix) and written <= latest
            )
        return iter(found)

    def abort_stale(self, older_than: float) -> int:
        return 0  # an unfinished upload is a local variable here

    def ping(self) -> None:
        pass
