"""A job's audio while it is decoded: a file of samples that grows, and those who read along."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.audio.channels.apart import Channels
from core.audio.decoder import DecodedAudio, PcmSpool
from core.audio.samples import Region
from core.errors import Interrupted
from core.speech.chunks import common
from core.system.cancel import Cancel

HOLD_SECONDS = 10.0
"""The longest pause after the first chunks: engine workers may be busy with other jobs for longer than that."""


class Recording:
    """Samples at 16 kHz, s16le, in `path`: mono, or all `channels` side by side. One thread writes it; safe to read from all
    others.

    head: pause after so many planned chunks until one is done (`go_on`), or somebody waits for the next: the first
        words of a long file shall not wait while both cores decode the rest of it. 0 = never pause
    on_grow: told each time there is more
    """

    def __init__(self, path: Path, *, head: int, cancel: Cancel, on_grow: Callable[[], None] = lambda: None) -> None:
        self.path = path
        self._head, self._cancel, self._on_grow = head, cancel, on_grow
        self._grown = threading.Condition()
        self._going_on = threading.Event()
        self._error: BaseException | None = None
        self._spool: PcmSpool | None = None
        self._opening = threading.Lock()
        self.available = 0
        """Samples that can be read."""
        self.planned = 0
        """Chunks planned so far."""
        self.decoded: DecodedAudio | None = None
        """None while it grows."""
        self.channels: Channels | None = None
        """Where each is heard by itself; known as soon as there is a sample."""

    def close(self) -> None:
        if self._spool is not None:
            self._spool.close()

    # --- the decoder's side
    def split(self, channels: Channels) -> None:
        """There will be so many of samples."""
        self.channels = channels

    def grow(self, samples: int) -> None:
        """There are so many samples now; waits while the first chunks are not done."""
        with self._grown:
            self.available = samples
            self._grown.notify_all()
        self._on_grow()
        self.pause()

    def finish(self, decoded: DecodedAudio) -> None:
        with self._grown:
            self.available = decoded.samples
            self.decoded = decoded
            self._grown.notify_all()
        self._on_grow()

    def fail(self, error: BaseException) -> None:
        """Whoever waits for samples gets this error."""
        with self._grown:
            self._error = self._error or error
            self._grown.notify_all()

    # --- the readers' side
    def pause(self) -> None:
        """Called by who decodes and who plans after each block."""
        if not self._head or self.planned < self._head or self._going_on.is_set():
            return
        deadline = time.monotonic() + HOLD_SECONDS
        while not self._going_on.wait(0.05) and not self._cancel.is_set() and time.monotonic() < deadline:
            pass
        self.go_on()

    def go_on(self) -> None:
        """A chunk is done: no more pause."""
        self._going_on.set()

    def want_more(self, *, beyond: int) -> None:
        """Somebody has had so many chunks and waits for the next."""
        if self._head <= self.planned <= beyond:
            self.go_on()

    def has(self, position: int) -> bool:
        """Whether `wait` for that position would return at once."""
        return self.available >= position or self.decoded is not None or self._error is not None

    def wait(self, position: int) -> None:
        """Block until there are `position` samples, or all there will be.

        Raises what decoding raised, and Interrupted when the run is to stop before they are there.
        """
        with self._grown:
            while not self.has(position) and not self._cancel.is_set():
                self._grown.wait(0.1)
        if self.available < position and self.decoded is None:
            if self._error is not None:
                raise self._error
            raise Interrupted("Stopped while decoding.")

    def read(self, start: int, end: int, channel: int | None = None) -> NDArray[np.int16]:
        """Samples that are there."""
        return self._open().read(start, end, channel or 0)

    def read_regions(self, regions: Sequence[Region], channel: int | None = None) -> NDArray[np.int16]:
        """The regions spliced together, once they are decoded. Another decoder than the plan's may have a little less."""
        self.wait(regions[-1].end)
        if self.decoded is not None:
            regions = common(regions, [Region(start=0, end=self.decoded.samples)])
        return self._open().read_regions(regions, channel or 0)

    def _open(self) -> PcmSpool:
        with self._opening:
            if self._spool is None:
                self._spool = PcmSpool(self.path, self.channels.count if self.channels else 1)
            return self._spool
