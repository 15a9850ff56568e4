"""What waits between a stream's client and its pipeline, both ways; both are bounded."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from enum import Enum, auto

from core.errors import LiveClientSlow
from core.live.events import Event

MOST_BYTES = 256 << 10
"""Of audio that waits for the pipeline; then the socket is not read. One message may come above it."""

MOST_ITEMS = 4096
"""Of commands, and audio between them: likewise."""

PIECE_BYTES = 64 << 10
"""Of audio that are handed on at once: 2 s at 16 kHz, so that a large message does not come in one lump."""

GATHER_BYTES, GATHER_SECONDS = 640, 0.01
"""Less audio than this (20 ms at 16 kHz) waits so long for more: ten thousand messages of two bytes are no ten thousand calls."""

DECODED_SECONDS = 0.25
"""A container's decoder may take so long for what came last: as long as a browser waits between two messages."""

MOST_EVENTS = 256


class Command(Enum):
    """What a client says between its audio."""

    FLUSH = auto()
    END = auto()


class Inbox:
    """Audio and commands in the order they came. One reader, one writer.

    decoded: it is a container. Before a flush, and whenever nothing comes, `get` gives b"" after DECODED_SECONDS: what has been
        decoded meanwhile can be heard
    """

    def __init__(self, *, decoded: bool = False) -> None:
        self._pause = DECODED_SECONDS if decoded else None
        self._paused = False
        self._items: deque[bytearray | Command] = deque()
        self._since = 0.0
        self.waited = 0.0  # seconds, of what was handed on last
        self._bytes = 0
        self._closed = False
        self._there, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()

    async def put(self, item: bytes | Command) -> None:
        """Waits while too much waits already."""
        await self._room.wait()
        if not self._items:
            self._since = time.monotonic()
        last = self._items[-1] if self._items else None
        if isinstance(item, Command):
            if item is not last:  # to flush twice is to flush once
                self._items.append(item)
        elif isinstance(last, bytearray):
            last += item
        else:
            self._items.append(bytearray(item))
        self._bytes += 0 if isinstance(item, Command) else len(item)
        if self._is_full:
            self._room.clear()
        self._there.set()

    async def get(self) -> bytes | Command | None:
        """The next; None when it is closed and all is handed on."""
        while not self._items:
            if self._closed:
                return None
            self._there.clear()
            try:
                async with asyncio.timeout(self._pause):
                    await self._there.wait()
            except TimeoutError:
                return b""
        if self._pause is not None and self._items[0] is Command.FLUSH and not self._paused:
            self._paused = True
            await asyncio.sleep(self._pause)
            return b""
        self._paused = False
        if (
            len(self._items) == 1
            and not self._closed
            and self._bytes < GATHER_BYTES
            and self._items[0] is not Command.END
        ):
            await asyncio.sleep(GATHER_SECONDS)
        now = time.monotonic()
        self.waited, self._since = now - self._since, now
        first = self._items[0]
        if isinstance(first, Command):
            self._items.popleft()
            self._make_room()
            return first
        piece = bytes(first[:PIECE_BYTES])
        del first[:PIECE_BYTES]
        if not first:
            self._items.popleft()
        self._bytes -= len(piece)
        self._make_room()
        return piece

    def close(self) -> None:
        """Nothing more comes."""
        self._closed = True
        self._room.set()
        self._there.set()

    @property
    def _is_full(self) -> bool:
        return self._bytes >= MOST_BYTES or len(self._items) >= MOST_ITEMS

    def _make_room(self) -> None:
        if not self._is_full:
            self._room.set()

    @property
    def waiting(self) -> int:
        """Bytes."""
        return self._bytes


class Outbox:
    """What is to be told, in order.

    seconds: how long a message may wait for room before the client counts as one that does not read
    """

    def __init__(self, *, seconds: float, most: int = MOST_EVENTS) -> None:
        self._events: deque[tuple[Event, float]] = deque()
        self._seconds, self._most = seconds, most
        self._open, self._changed = True, asyncio.Condition()

    async def put(self, event: Event) -> None:
        """Waits while it is full; nothing is kept for a client that is gone. Raises LiveClientSlow."""
        async with self._changed:
            try:
                async with asyncio.timeout(self._seconds):
                    await self._changed.wait_for(lambda: len(self._events) < self._most or not self._open)
            except TimeoutError:
                raise LiveClientSlow from None
            if self._open:
                self._events.append((event, time.monotonic()))
                self._changed.notify_all()

    async def offer(self, event: Event) -> None:
        """Of what may be left out: only if nothing else waits."""
        if not self._events:
            await self.put(event)

    async def get(self) -> tuple[Event, float] | None:
        """The next, and when it came (`time.monotonic`); None when it is closed and all is told."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._events or not self._open)
            if not self._events:
                return None
            found = self._events.popleft()
            self._changed.notify_all()
            return found

    async def close(self, last: Event | None = None, *, drop: bool = False) -> None:
        """Nothing more is told, but for one event. drop: not even what waits"""
        async with self._changed:
            if drop:
                self._events.clear()
            if self._open and last is not None:
                self._events.append((last, time.monotonic()))
            self._open = False
            self._changed.notify_all()

    @property
    def waiting(self) -> int:
        return len(self._events)
