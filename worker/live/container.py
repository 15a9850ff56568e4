"""Containers as a browser's MediaRecorder makes them (webm, ogg, mp4), decoded by ffmpeg while they come."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import subprocess
import threading
from collections import deque
from contextlib import suppress

import numpy as np

from core.audio.ffmpeg import Ffmpeg, failure, first_line
from core.audio.samples import SAMPLE_BYTES, SAMPLE_RATE, Pcm
from core.errors import LiveProtocol, ServiceError
from core.system.processes import CANNOT_RUN, Limits, spawn, stop

log = logging.getLogger(__name__)

DEMUXERS = "matroska,ogg,mov"
"""webm is matroska's, mp4 mov's. Each is read as it comes, without a look ahead."""

PROBE_BYTES = 32 * 1024
"""ffmpeg looks at so much before the first sample, or at all that there is if it has known the tracks before."""

PROMISE_BYTES, PROMISE_SECONDS = 512 * 1024, 10.0
"""So much, and so long after it came, may give no sample: then it is no sound. A second of a browser's has 4 to 16 kB."""

COMPLAINTS = 4096
STUCK_SECONDS = 10.0
"""So long ffmpeg may take nothing, or not end when nothing more comes."""

READ_BYTES = 64 * 1024
HELD_BYTES = 30 * SAMPLE_RATE * SAMPLE_BYTES
"""Decoded samples that wait for who feeds; with more, ffmpeg waits."""


class ContainerIntake:
    """One ffmpeg. What it decodes comes out with whatever is fed next, or at the end.

    skip: so many samples at 16 kHz are left out at the beginning, where a stream goes on
    channels: 1: mixed; 2: each by itself

    Raises LiveProtocol for what cannot be decoded, ServiceError where the decoder cannot be
    started, or was killed. Its process is a child of a thread of its own, and dies with us.
    """

    def __init__(self, ffmpeg: Ffmpeg, *, channels: int = 1, skip: int = 0) -> None:
        self._ffmpeg, self._channels = ffmpeg, channels
        self._skip = skip
        self._frame = SAMPLE_BYTES * channels
        self._lock = threading.Condition()
        self._decoded: deque[bytes] = deque()
        self._held = self._fed = self._got = 0
        self._rest = b""
        self._complaints = b""
        self._status: int | None = None
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._first: float | None = None
        self._keeper: threading.Thread | None = None
        self._begun = threading.Event()

    async def feed(self, data: bytes) -> Pcm:
        """data: b"" takes what has been decoded meanwhile"""
        if not data and self._keeper is None:
            return self._take()
        await self._begin()
        loop = asyncio.get_running_loop()
        self._first = self._first or loop.time()
        await asyncio.to_thread(self._write, data)
        self._fed += len(data)
        late = loop.time() - self._first > PROMISE_SECONDS
        if not self._got and self._fed > PROMISE_BYTES and late:
            raise LiveProtocol("The container has no sound that can be decoded.")
        return self._take()

    async def finish(self) -> Pcm:
        await self._begin()
        process, keeper = self._process, self._keeper
        assert process is not None
        assert keeper is not None
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        found = [self._take()]
        end = asyncio.get_running_loop().time() + STUCK_SECONDS
        while keeper.is_alive():
            await asyncio.to_thread(keeper.join, 0.05)
            if len(got := self._take()):
                found.append(got)
                end = asyncio.get_running_loop().time() + STUCK_SECONDS
            if asyncio.get_running_loop().time() > end:
                await self.close()
                raise LiveProtocol("The container could not be decoded to its end.")
        found.append(self._take())
        if self._is_killed or (self._status and not self._got and self._fed):
            raise self._refused()
        return np.concatenate(found)

    async def close(self) -> None:
        with self._lock:
            self._closed = True
            self._lock.notify_all()
        if self._keeper is not None:
            await asyncio.to_thread(self._keeper.join)

    async def _begin(self) -> None:
        if self._closed:
            raise LiveProtocol("The stream has ended.")
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._keep, name="live container", daemon=True)
            self._keeper.start()
            await asyncio.to_thread(self._begun.wait)
        if self._process is None:
            raise ServiceError("ffmpeg cannot be started.")

    # -- in threads

    def _keep(self) -> None:
        """Start ffmpeg and read it to its end: the kernel ends a child with the thread that started it."""
        try:
            process = self._process = spawn(
                self._command(),
                limits=Limits(memory=1024**3, file_bytes=0, open_files=64),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                quick=True,
            )
        except OSError as error:
            log.error("ffmpeg cannot be started for a live stream: %s", error)
            return
        finally:
            self._begun.set()
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        complaints = threading.Thread(target=self._listen, args=(process,), daemon=True)
        closer = threading.Thread(target=self._watch, args=(process,), daemon=True)
        complaints.start()
        closer.start()
        assert process.stdout is not None
        try:
            while data := os.read(process.stdout.fileno(), READ_BYTES):
                with self._lock:
                    self._decoded.append(data)
                    self._held += len(data)
                    self._got += len(data)
                    self._lock.wait_for(lambda: self._held < HELD_BYTES or self._closed)
            complaints.join(STUCK_SECONDS)
            with suppress(subprocess.TimeoutExpired):
                self._status = process.wait(STUCK_SECONDS)
        finally:
            with self._lock:
                self._status = -1 if self._status is None else self._status
                self._lock.notify_all()
            closer.join()
            complaints.join()
            stop(process)

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Kill it once we are closed: the reader then sees its end."""
        with self._lock:
            self._lock.wait_for(lambda: self._closed or self._status is not None)
        if self._status is None:
            with suppress(ProcessLookupError):
                process.kill()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        while data := os.read(process.stderr.fileno(), READ_BYTES):
            self._complaints = (self._complaints + data)[:COMPLAINTS]

    def _write(self, data: bytes) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        view, waited = memoryview(data), 0.0
        while view:
            if self._status is not None or self._closed:
                raise self._refused()
            try:
                _, ready, _ = select.select([], [process.stdin], [], 0.1)
                if ready:
                    view, waited = view[os.write(process.stdin.fileno(), view) :], 0.0
                    continue
            except (OSError, ValueError):
                with self._lock:
                    self._lock.wait_for(lambda: self._status is not None, STUCK_SECONDS)
                raise self._refused() from None
            waited += 0.1
            if waited > STUCK_SECONDS and self._held < HELD_BYTES:
                raise LiveProtocol("The container could not be decoded: the decoder is stuck.")
            if self._held >= HELD_BYTES:
                self._spill()

    def _spill(self) -> None:
        """One message decodes to more than is held: room for what comes, instead of waiting for each other."""
        with self._lock:
            self._held = 0
            self._lock.notify_all()

    def _take(self) -> Pcm:
        with self._lock:
            data = self._rest + b"".join(self._decoded)
            self._decoded.clear()
            self._held = 0
            self._lock.notify_all()
        whole = len(data) // self._frame * self._frame
        self._rest = data[whole:]
        pcm = np.frombuffer(data[:whole], "<i2").astype(np.int16, copy=False).reshape(-1, self._channels)
        skipped = min(self._skip, len(pcm))
        self._skip -= skipped
        return pcm[skipped:]

    @property
    def _is_killed(self) -> bool:
        """From outside, or for want of memory: that says nothing of the audio, which another process may decode."""
        return not self._closed and self._status in (-signal.SIGTERM, -signal.SIGKILL)

    def _refused(self) -> ServiceError:
        if self._complaints.startswith(CANNOT_RUN) or self._is_killed:
            return ServiceError(failure(self._complaints, self._status or 0).message)
        why = first_line(self._complaints)
        if "whitelist" in why:
            why = "it is no webm, ogg or mp4"
        return LiveProtocol(f"The container cannot be decoded: {why}")

    def _command(self) -> list[str]:
        """Untrusted bytes: standard input alone, few demuxers, one thread (see `core.audio.ffmpeg`)."""
        return [
            self._ffmpeg.path,
            *("-nostdin", "-nostats", "-hide_banner", "-v", "error"),
            *("-threads", "1", "-protocol_whitelist", "fd", "-format_whitelist", DEMUXERS, "-max_streams", "8"),
            *("-probesize", str(PROBE_BYTES), "-analyzeduration", "0", "-fflags", "nobuffer", "-flags", "low_delay"),
            *("-fd", "0", "-i", "fd:", "-map", "0:a:0", "-vn", "-sn", "-dn"),
            *("-ac", str(self._channels), "-ar", str(SAMPLE_RATE), "-f", "s16le", "-flush_packets", "1", "pipe:1"),
        ]
