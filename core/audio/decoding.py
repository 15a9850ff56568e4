"""One run of ffmpeg over one sound track: its samples and what it says of them become sound in its place."""

from __future__ import annotations

import functools
import math
import os
import selectors
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import numpy as np

from core.audio.ffmpeg import CLOCKED, FRAME_BYTES, RESTARTING, Ffmpeg, failure
from core.audio.ffmpeg_log import FfmpegLog, FrameReader
from core.audio.fragments import restarts
from core.audio.mixdown import Mixdown, OffsetRemover
from core.audio.samples import SAMPLE_RATE, Pcm
from core.audio.sniff import encrypted
from core.audio.timeline import JUMP, Timeline
from core.audio.tracks import AudioTrack
from core.errors import AudioEmpty, AudioEncrypted, AudioUndecodable
from core.system.cancel import Cancel, raise_if_cancelled
from core.system.processes import Limits, spawn, stop

BLOCK_BYTES = 64 * 1024
"""How much is read at once, 1 s of audio (Linux's pipes hold no more unless asked)."""

TICK = 0.1
"""Cancel is looked at this often, seconds."""


class Sink(Protocol):
    """Where sound goes: 16 kHz mono."""

    def add(self, pcm: Pcm) -> None: ...

    def silence(self, samples: int) -> None: ...

    def finish(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Sound:
    """What is to be said of decoded sound.

    damage: ffmpeg's complaints about it; joined: places (samples) of jumps ahead that are no gaps
    cancelled: seconds in which its channels cancel each other
    """

    damage: bytes
    joined: tuple[int, ...]
    cancelled: float


class Decoding:
    """Runs ffmpeg. opened: told the file's sound tracks before the first sample; what it raises ends the run."""

    def __init__(
        self,
        ffmpeg: Ffmpeg,
        *,
        limits: Limits,
        stall_seconds: float,
        max_seconds: float,
        track: int,
        container: str | None,
        opened: Callable[[Sequence[AudioTrack]], None],
    ) -> None:
        self._command = functools.partial(ffmpeg.decode_command, max_seconds, track=track, container=container)
        self._limits, self._stall_seconds, self._max_seconds = limits, stall_seconds, max_seconds
        self._opened = opened
        self._log, self._frames = FfmpegLog(track), FrameReader()
        self._mix, self._offset = Mixdown(), OffsetRemover()
        self._heard = 0
        self._timeline: Timeline | None = None

    def run(self, file: BinaryIO, sink: Sink, cancel: Cancel | None) -> Sound:
        """Decode a local file from its start. Raises what `core.audio.decoder.Decoder.decode` raises, of the file and ffmpeg."""
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        told, tell = os.pipe()
        try:
            process = spawn(
                self._command(all_sound=restarts(file), told=tell),
                limits=self._limits,
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(tell,),
                quick=True,
            )
        except BaseException:
            os.close(told)
            raise
        finally:
            os.close(tell)
        try:
            for pcm in self._pump(process, told, cancel):
                self._put(self._offset.feed(self._mix.feed(pcm)), sink)
            self._put(self._offset.feed(self._mix.finish()), sink)
            self._put(self._offset.finish(), sink, last=True)
            status = process.wait(timeout=30)
        finally:
            stop(process)
            os.close(told)
        complaints = bytes(self._log.complaints)
        if complaints and encrypted(file):
            raise AudioEncrypted
        if status:
            raise failure(complaints, status)
        if not self._heard:
            raise failure(complaints, status) if complaints else AudioEmpty()
        sink.finish()
        joined = tuple(self._timeline.joined) if self._timeline else ()
        return Sound(damage=self._log.damage(), joined=joined, cancelled=self._mix.lost_seconds)

    def _pump(self, process: subprocess.Popen[bytes], told: int, cancel: Cancel | None) -> Iterator[Pcm]:
        """ffmpeg's samples until it has no more. Whatever it said before it gave them is read by then."""
        assert process.stdout is not None
        assert process.stderr is not None
        stdout, stderr = process.stdout.fileno(), process.stderr.fileno()
        os.set_blocking(stderr, False)
        os.set_blocking(told, False)
        give_up = time.monotonic() + self._stall_seconds
        rest, opened = b"", False
        with selectors.DefaultSelector() as selector:
            # not for a line per frame, which would wake us for each: they are read with the samples, and at each tick
            selector.register(stdout, selectors.EVENT_READ)
            selector.register(stderr, selectors.EVENT_READ)
            while selector.get_map():
                raise_if_cancelled(cancel)
                if time.monotonic() > give_up:
                    raise AudioUndecodable(f"The decoder gave no audio for {self._stall_seconds:g} s.")
                ready = {key.fd for key, _ in selector.select(TICK)}
                data = os.read(stdout, BLOCK_BYTES) if stdout in ready else None
                if data == b"":
                    selector.unregister(stdout)
                _drain(told, self._frames.feed)
                if stderr in selector.get_map() and not _drain(stderr, self._log.feed):
                    selector.unregister(stderr)
                if self._log.opened and not opened:
                    opened = True
                    self._opened(self._log.tracks)
                if data:
                    give_up = time.monotonic() + self._stall_seconds
                    data = rest + data
                    whole = len(data) // FRAME_BYTES * FRAME_BYTES
                    rest = data[whole:]
                    yield np.frombuffer(data[:whole], "<i2")

    def _put(self, pcm: Pcm, sink: Sink, *, last: bool = False) -> None:
        self._heard += len(pcm)
        frames: list[tuple[float, int]] = [*self._frames.take()]
        names = set(self._log.container.split(","))
        if not names & CLOCKED:
            frames = [(math.nan, samples) for _, samples in frames]
        if self._timeline is None:
            start = None if self._log.start is None else self._log.start * SAMPLE_RATE
            self._timeline = Timeline(
                start=start, longest=JUMP if names & RESTARTING else int(self._max_seconds * SAMPLE_RATE)
            )
        for sound in (*self._timeline.feed(frames, pcm), *(self._timeline.finish() if last else ())):
            if isinstance(sound, int):
                sink.silence(sound)
            else:
                sink.add(sound)


def _drain(fd: int, feed: Callable[[bytes], None]) -> bool:
    """Take what a pipe that does not block holds; False when there will be no more."""
    while True:
        try:
            data = os.read(fd, BLOCK_BYTES)
        except BlockingIOError:
            return True
        feed(data)
        if not data:
            return False
