"""Decode and plan, pipelined: ffmpeg fills the spool, VAD reads behind it, chunks come out while both still run.

What lies between the stages is bounded by MAX_AUDIO_HOURS: the spool on disk, and the chunks' positions (some
hundred bytes each). So planning never waits for the engine, and a job's size is known as soon as it is decoded.
"""

from __future__ import annotations

import contextvars
import functools
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

from core.audio.decoder import DecodedAudio, Decoder, PcmSpool
from core.errors import Interrupted
from core.speech.chunks import Chunk
from core.speech.planner import ChunkPlanner
from core.speech.regions import RegionSource
from core.system.cancel import Cancel

HOLD_SECONDS = 10.0
"""The longest pause after the first chunks: engine workers may be busy with other jobs for longer than that."""

BLOCK = 512 * 64
"""Samples per VAD block: 2 s; a multiple of Silero's 512, so that blocks equal one pass."""


def _in_context(run: Callable[[], None]) -> Callable[[], None]:
    """The job's id stays bound to the log lines of a new thread."""
    return functools.partial(contextvars.copy_context().run, run)


class Listener:
    """Two threads around one spool file; `chunks()` yields planned chunks in order.

    source: the uploaded file
    spool: where the 16 kHz mono PCM goes
    regions: the strategy that finds speech
    planner: may start in the middle, after the chunks that are already stored
    replan: False when the stored plan is complete: then only decode
    head: pause after so many planned chunks until one is done (`go_on`), or somebody waits for the next: the first
        words of a long file shall not wait while both cores decode the rest of it. 0 = never pause
    on_chunks: stores planned chunks before anybody gets them; on_planned: told when the plan is complete. Both are
        called in the plan thread, and what they raise comes out of `chunks`
    """

    def __init__(
        self,
        *,
        source: Path,
        spool: Path,
        decoder: Decoder,
        regions: RegionSource,
        planner: ChunkPlanner,
        replan: bool,
        head: int,
        cancel: Cancel,
        on_chunks: Callable[[Sequence[Chunk]], None],
        on_planned: Callable[[DecodedAudio], None],
    ) -> None:
        self._source, self._spool_path, self._decoder = source, spool, decoder
        self._regions, self._planner, self._replan, self._cancel = regions, planner, replan, cancel
        self._on_chunks, self._on_planned, self._head = on_chunks, on_planned, head
        self._queue: queue.Queue[Chunk | None] = queue.Queue()
        self._planned = 0
        self._going_on = threading.Event()
        self._grown = threading.Condition()
        self._available = 0
        self._error: BaseException | None = None
        self._closed = threading.Event()
        self.decoded: DecodedAudio | None = None
        self._decode_thread = threading.Thread(target=_in_context(self._decode), name="decode", daemon=True)
        self._plan_thread = threading.Thread(target=_in_context(self._plan), name="plan", daemon=True)

    def __enter__(self) -> Self:
        self._decode_thread.start()
        if self._replan:
            self._plan_thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closed.set()
        with self._grown:
            self._grown.notify_all()
        self._decode_thread.join()
        if self._replan:
            self._plan_thread.join()

    def is_set(self) -> bool:
        """Cancel flag of the decoder."""
        return self._closed.is_set() or self._cancel.is_set()

    def chunks(self) -> Iterator[Chunk]:
        """New chunks as they are planned. Raises what decoding or planning raised."""
        while self._replan:
            try:
                chunk = self._queue.get(timeout=0.1)
            except queue.Empty:
                if self._planned >= self._head:
                    self.go_on()
                if self.is_set():
                    break
                continue
            if chunk is None:
                break
            yield chunk
        self.raise_error()

    def go_on(self) -> None:
        """The first chunks are done, or not enough for those who wait: no more pause."""
        self._going_on.set()

    def wait_decoded(self) -> DecodedAudio:
        """Block until the whole file is decoded; raises what decoding raised."""
        with self._grown:
            while self.decoded is None and self._error is None and not self.is_set():
                self._grown.wait(0.1)
        self.raise_error()
        if self.decoded is None:
            raise Interrupted("Stopped while decoding.")
        return self.decoded

    def wait_samples(self, position: int) -> None:
        """Block until the spool holds `position` samples, or all there are.

        Raises what decoding raised, and Interrupted when the run is to stop before they are there.
        """
        with self._grown:
            while self._available < position and self.decoded is None and self._error is None and not self.is_set():
                self._grown.wait(0.1)
        if self._available < position and self.decoded is None:
            self.raise_error()
            raise Interrupted("Stopped while decoding.")

    def raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    # --- decode thread
    def _on_block(self, samples: int) -> None:
        with self._grown:
            self._available = samples
            self._grown.notify_all()
        self._pause()

    def _pause(self) -> None:
        """Called by both threads after each block."""
        if not self._head or self._planned < self._head or self._going_on.is_set():
            return
        deadline = time.monotonic() + HOLD_SECONDS
        while not self._going_on.wait(0.05) and not self.is_set() and time.monotonic() < deadline:
            pass
        self.go_on()

    def _decode(self) -> None:
        decoded: DecodedAudio | None = None
        error: BaseException | None = None
        try:
            decoded = self._decoder.decode(self._source, self._spool_path, on_block=self._on_block, cancel=self)
        except BaseException as problem:
            error = problem
        with self._grown:
            if decoded is not None:
                self._available = decoded.samples
                self.decoded = decoded
            else:
                self._error = self._error or error
            self._grown.notify_all()
        if error is not None:
            self._queue.put(None)

    # --- plan thread
    def _plan(self) -> None:
        try:
            self._plan_all()
        except BaseException as problem:
            self._error = self._error or problem
        finally:
            self._queue.put(None)

    def _plan_all(self) -> None:
        position = 0
        self.wait_samples(1)  # the decoder makes the spool file
        with PcmSpool(self._spool_path) as spool:
            while not self.is_set():
                self.wait_samples(position + BLOCK)
                end = min(position + BLOCK, self._available)
                if end == position and self.decoded is not None:
                    break
                if end - position < BLOCK and self.decoded is None:
                    continue
                self._put(self._planner.feed(self._regions.feed(spool.read(position, end))))
                position = end
                self._pause()
            if self.is_set():
                return
            self._put(self._planner.feed(self._regions.finish()))
            self._put(self._planner.finish(position))
            assert self.decoded is not None
            self._on_planned(self.decoded)

    def _put(self, chunks: Sequence[Chunk]) -> None:
        if chunks:
            self._on_chunks(chunks)
            for chunk in chunks:
                self._queue.put(chunk)
            self._planned += len(chunks)  # not before: who then finds the queue empty waits for more than these
