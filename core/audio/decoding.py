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

from core.audio.channels.mixdown import Cleaner, EachAlone, Mixdown, Together
from core.audio.channels.two_talks import TwoTalks
from core.audio.ffmpeg import AU, CLOCKED, FRAME_BYTES, RESTARTING, Ffmpeg, au_head, failure
from core.audio.ffmpeg_log import OUTPUT, FfmpegLog, FrameReader
from core.audio.fragments import restarts
from core.audio.samples import SAMPLE_BYTES, SAMPLE_RATE, Pcm
from core.audio.sniff import encrypted
from core.audio.timeline import JUMP, Timeline
from core.audio.tracks import STEREO, AudioTrack
from core.errors import AudioEmpty, AudioEncrypted, AudioUndecodable
from core.notices import Notice
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
    cancelled: seconds in which its channels cancel each other; more: what else there is to say
    """

    damage: bytes
    joined: tuple[int, ...]
    cancelled: float
    more: tuple[Notice, ...] = ()


class Decoding:
    """Runs ffmpeg.

    opened: told the file's sound tracks before the first sample; what it raises ends the run
    apart: each channel comes by itself, in samples of shape (n, channels), and this is told before that how many there are;
        what it raises ends the run. None: they are mixed
    talks: looks at what is mixed, if that is stereo
    """

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
        apart: Callable[[int], None] | None = None,
        talks: TwoTalks | None = None,
    ) -> None:
        self._command = functools.partial(
            ffmpeg.decode_command, max_seconds, track=track, container=container, apart=apart is not None
        )
        self._limits, self._stall_seconds, self._max_seconds = limits, stall_seconds, max_seconds
        self._opened, self._apart = opened, apart
        self._log, self._frames = FfmpegLog(track, AU if apart else OUTPUT), FrameReader()
        self._mixdown = Mixdown(talks)
        self._cleaner: Cleaner = Together(self._mixdown)
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
                self._put(self._cleaner.feed(pcm), sink)
            self._put(self._cleaner.finish(), sink, last=True)
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
        more = self._mixdown.talks.notices() if self._mixdown.talks else ()
        return Sound(damage=self._log.damage(), joined=joined, cancelled=self._mixdown.lost_seconds, more=more)

    def _pump(self, process: subprocess.Popen[bytes], told: int, cancel: Cancel | None) -> Iterator[Pcm]:
        """ffmpeg's samples until it has no more. Whatever it said before it gave them is read by then."""
        assert process.stdout is not None
        assert process.stderr is not None
        stdout, stderr = process.stdout.fileno(), process.stderr.fileno()
        os.set_blocking(stderr, False)
        os.set_blocking(told, False)
        give_up = time.monotonic() + self._stall_seconds
        rest, opened, frame, order = b"", False, FRAME_BYTES, "<i2"
        head = self._apart is not None
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
                    if self._log.layout != STEREO:
                        self._mixdown.talks = None
                if data:
                    give_up = time.monotonic() + self._stall_seconds
                    data = rest + data
                    if head and (found := au_head(data)):
                        head, data = False, data[found[0] :]
                        frame, order = self._begin(found[1]), ">i2"
                    if head:
                        rest = data
                        continue
                    whole = len(data) // frame * frame
                    rest = data[whole:]
                    yield np.frombuffer(data[:whole], order).astype(np.int16, copy=False)

    def _begin(self, channels: int) -> int:
        """There are so many. Returns how many bytes the samples of a moment have."""
        assert self._apart is not None
        self._apart(channels)
        self._cleaner = EachAlone(channels)
        return channels * SAMPLE_BYTES

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
