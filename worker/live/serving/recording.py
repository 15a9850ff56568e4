"""A stream's audio on its way into the object store: in pieces, beside everything else that is done with it."""

from __future__ import annotations

import asyncio
import io
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor
from functools import partial

from core.objects.store import ObjectStore, piece_key
from worker.live.serving.hold import Hold, again

log = logging.getLogger(__name__)

PIECE_SECONDS = 5.0
"""What a crash of the machine may cost of a stream whose client does not come back."""

SOON_SECONDS = 1.0
"""A piece that an `ack` waits for is stored when it is so old."""

READ_BYTES = 1 << 18
"""Of a stored piece, at once."""

PIECE_BYTES, MOST_BYTES = 1 << 20, 4 << 20
"""A piece has at most so many bytes; so many wait to be stored, then no more are taken."""


def finals_told(key: str) -> int:
    """How many finals who had the `ack` of a piece has had at least: its key ends with how many were told before it was stored."""
    count = key.rpartition(".")[2]
    return int(count) if count.isdigit() else 0


class Recording:
    """The bytes from `stored` on. `run` stores them until it is cancelled; what it raises, the stream has to be told.

    finals: how many have been told by now; stored: told when a piece has been stored
    check_room: raises InsufficientStorage where too little is left
    """

    def __init__(
        self,
        hold: Hold,
        objects: ObjectStore,
        threads: Executor,
        *,
        stored: int,
        finals: Callable[[], int],
        on_stored: Callable[[], Awaitable[None]],
        check_room: Callable[[], None],
    ) -> None:
        self._hold, self._objects, self._threads = hold, objects, threads
        self._finals, self._on_stored, self._check_room = finals, on_stored, check_room
        self.stored = stored
        self._waiting = bytearray()
        self._since = time.monotonic()
        self._soon = self._now = False
        self._changed = asyncio.Condition()
        self._storing = asyncio.Lock()
        self._failed: Exception | None = None

    @property
    def taken(self) -> int:
        """Bytes that are stored, or wait for it."""
        return self.stored + len(self._waiting)

    @property
    def waiting(self) -> int:
        """Bytes that are not stored."""
        return len(self._waiting)

    def forget(self) -> None:
        """What is not stored will not be."""
        self._waiting.clear()

    async def add(self, data: bytes) -> None:
        """The next bytes; waits while too many are not stored yet. Raises what `run` has raised, instead of waiting for ever."""
        if not data:
            return
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._waiting) < MOST_BYTES or self._failed is not None)
            if self._failed is not None and len(self._waiting) >= MOST_BYTES:
                raise self._failed
            if not self._waiting:
                self._since = time.monotonic()
            self._waiting += data
            self._changed.notify_all()

    async def wish(self) -> None:
        """Somebody waits for what has come so far to be stored."""
        async with self._changed:
            self._soon = True
            self._changed.notify_all()

    async def flush(self) -> None:
        """Store all that waits. Raises DiskFull, InsufficientStorage, StorageUnavailable, and what `Hold` does."""
        while self._waiting:
            await self._store()

    async def run(self) -> None:
        """Raises what `flush` does."""
        try:
            await self._store_all()
        except Exception as error:
            async with self._changed:
                self._failed = error
                self._changed.notify_all()
            raise

    async def _store_all(self) -> None:
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._waiting)
                while (left := self._due()) > 0:
                    try:
                        async with asyncio.timeout(left):
                            await self._changed.wait()
                    except TimeoutError:
                        pass
            await self._store()

    def _due(self) -> float:
        """Seconds until the next piece is to be stored."""
        if len(self._waiting) >= PIECE_BYTES:
            return 0.0
        return self._since + (SOON_SECONDS if self._soon else PIECE_SECONDS) - time.monotonic()

    async def _store(self) -> None:
        async with self._storing:  # `flush` and `run` may meet
            piece = bytes(self._waiting[:PIECE_BYTES])
            if not piece:
                return
            key = f"{piece_key(self._hold.session.id, self.stored, self._hold.fence)}.{self._finals()}"
            put = partial(self._put, key, piece)
            await again(put, what="Audio of a live stream cannot be stored")
            await self._hold.keep_piece(start=self.stored, size=len(piece), key=key)
            async with self._changed:
                del self._waiting[: len(piece)]
                self.stored += len(piece)
                self._since, self._soon = time.monotonic(), False
                self._changed.notify_all()
        await self._on_stored()

    async def _put(self, key: str, piece: bytes) -> None:
        def put() -> None:
            self._check_room()
            self._objects.put(key, io.BytesIO(piece))

        await asyncio.get_running_loop().run_in_executor(self._threads, put)


async def stored_audio(objects: ObjectStore, threads: Executor, key: str, size: int) -> AsyncIterator[bytes]:
    """A piece, as it was stored. Raises StorageUnavailable, KeyError."""
    loop = asyncio.get_running_loop()
    stream = await loop.run_in_executor(threads, partial(objects.open, key))
    try:
        while data := await loop.run_in_executor(threads, stream.read, min(size, READ_BYTES)):
            yield data
    finally:
        stream.close()
