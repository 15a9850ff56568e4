"""Bytes on their way from the event loop to one thread that reads them like a file, hashed as they pass."""

from __future__ import annotations

import asyncio
import hashlib
import io
import threading
from collections import deque

CAPACITY = 1 << 20
"""Bytes between the two sides: enough that neither waits for the other's every step."""


class Pipe(io.RawIOBase):
    """One writer (coroutine), one reader (thread), at most about CAPACITY bytes in between.

    To be made inside the running event loop. `read(n)` gives n bytes unless the end comes first, as
    object stores expect of a file.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Event()
        self._lock = threading.Condition()
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._writer_waits = False
        self._ended = False
        self._broken: BaseException | None = None
        self._reader_gone = False
        self._digest = hashlib.sha256()

    # --- the event loop's side

    async def send(self, data: bytes) -> None:
        """Hand over some bytes, waiting while the reader is behind. Raises BrokenPipeError when it has gone."""
        while True:
            with self._lock:
                if self._reader_gone:
                    raise BrokenPipeError
                if self._size < self._capacity:
                    self._chunks.append(data)
                    self._size += len(data)
                    self._lock.notify()
                    return
                self._writer_waits = True
                self._room.clear()
            await self._room.wait()

    def end(self) -> None:
        """That was all: the reader sees the end of the file."""
        with self._lock:
            self._ended = True
            self._lock.notify()

    def fail(self, error: BaseException) -> None:
        """The rest will never come: the reader's next read raises this."""
        with self._lock:
            self._broken = error
            self._lock.notify()

    def reader_gone(self) -> None:
        """Nobody reads any more (called in the event loop): a waiting `send` gives up."""
        with self._lock:
            self._reader_gone = True
        self._room.set()

    @property
    def sha256(self) -> str:
        """Of all bytes read; meaningful when the reader has come to the end."""
        return self._digest.hexdigest()

    # --- the thread's side

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts: list[bytes] = []
        missing = size if size >= 0 else None
        while missing is None or missing > 0:
            part = self._take(missing)
            if not part:
                break
            parts.append(part)
            if missing is not None:
                missing -= len(part)
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self._digest.update(data)
        return data

    def _take(self, limit: int | None) -> bytes:
        """The next bytes, at most `limit`; b"" at the end."""
        with self._lock:
            self._lock.wait_for(lambda: self._chunks or self._ended or self._broken)
            if self._broken is not None:
                raise self._broken
            if not self._chunks:
                return b""
            part = self._chunks.popleft()
            if limit is not None and len(part) > limit:
                self._chunks.appendleft(part[limit:])
                part = part[:limit]
            self._size -= len(part)
            wake = self._writer_waits and self._size <= self._capacity // 2
            if wake:
                self._writer_waits = False
        if wake:
            self._loop.call_soon_threadsafe(self._room.set)
        return part
