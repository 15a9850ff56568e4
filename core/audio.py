"""From an uploaded file to samples: 16 kHz mono s16le in a spool file, read back piece by piece.

Memory stays the same for a minute and for a day: samples go straight to disk, and readers
take what they need by `pread` (a memory map would count as the process's memory: 1.1 GB for 10 hours).
"""

from __future__ import annotations

import errno
import logging
import os
import selectors
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from core.chunks import SAMPLE_RATE, Region
from core.errors import AudioEmpty, AudioEncrypted, AudioTooLong, AudioUndecodable, Cancelled, DiskFull, SourceMissing
from core.ffmpeg import Ffmpeg, damage, failure, first_line, real, start_of
from core.offset import BLOCK, OffsetRemover
from core.processes import Cancel, Limits, spawn, stop
from core.sniff import encrypted
from core.transcript import Notice
from core.wav import plain_samples

logger = logging.getLogger(__name__)

SAMPLE_BYTES = 2
#: how much is read at once, 2 s of audio (Linux's pipes hold no more unless asked)
BLOCK_BYTES = 64 * 1024
#: how much of ffmpeg's stderr is kept; a damaged file can make it write without end
COMPLAINT_BYTES = 64 * 1024
#: cancel is looked at this often, seconds
TICK = 0.1


@dataclass(frozen=True, kw_only=True)
class DecodedAudio:
    """What was decoded. The duration is counted, not taken from the file's word."""

    samples: int
    warnings: tuple[Notice, ...] = ()

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.samples / SAMPLE_RATE


class Decoder:
    """Decodes files of any format into a spool. Safe to call from many threads.

    One ffmpeg process per call, except for a plain WAV file (`core.wav`), whose samples are copied.

    max_seconds: longer audio is refused (AudioTooLong); bounds the spool too, at 32,000 bytes per second
    stall_seconds: a decoder that gives no sample for that long is given up. Generous, because the rest of a
        video whose audio ends early is still read to its end
    """

    def __init__(self, ffmpeg: Ffmpeg, *, max_seconds: float, stall_seconds: float = 300.0, nice: int = 10) -> None:
        self.ffmpeg = ffmpeg
        self._max_seconds = max_seconds
        self._stall_seconds = stall_seconds
        # Decoding runs at hundreds of times real time; a tenth of it means a file made to burn CPU.
        cpu = 60 + int(max_seconds / 10)
        self._limits = Limits(memory=2 * 1024**3, cpu_seconds=cpu, file_bytes=0, open_files=64, nice=nice)

    def decode(
        self,
        source: BinaryIO | Path,
        spool: Path,
        *,
        on_block: Callable[[int], None] = lambda _: None,
        cancel: Cancel | None = None,
    ) -> DecodedAudio:
        """Decode the first audio stream of `source` into the file `spool`, replacing it.

        source: a path, or a stream not yet read from (copied beside the spool first if it is no local file)
        on_block: told the number of samples that can now be read, after each block; what it raises ends the decode

        Raises NoAudioStream, AudioEmpty, AudioUndecodable, AudioTooLong, AudioEncrypted, SourceMissing, DiskFull,
        DecoderKilled, and Cancelled soon after `cancel` is set (TICK). A damaged file that still gives audio is not an
        error: it gets the warning `audio_damaged`. ffmpeg has ended when this returns or raises; the
        calling thread must live as long (see `core.processes.spawn`).
        """
        started = time.monotonic()
        with _disk_full(), _regular_file(source, spool.parent, cancel) as file, spool.open("wb", buffering=0) as out:
            samples = _Samples(out, self._max_seconds, on_block)
            plain = plain_samples(file)
            complaints = self._convert(file, samples, cancel) if plain is None else _copy(file, *plain, samples, cancel)
            samples.finish()
        audio = DecodedAudio(samples=samples.received // SAMPLE_BYTES, warnings=self._damage(complaints))
        logger.info("Decoded %.1f s of audio in %.1f s", audio.duration, time.monotonic() - started)
        return audio

    def _convert(self, file: BinaryIO, samples: _Samples, cancel: Cancel | None) -> bytes:
        """Have ffmpeg make samples of the file; returns what it complained of, although there are some."""
        process = spawn(
            self.ffmpeg.decode_command(self._max_seconds),
            limits=self._limits,
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            quick=True,
        )
        try:
            complaints = self._pump(process, samples, cancel)
            status = process.wait(timeout=30)
        finally:
            stop(process)
        if complaints and encrypted(file):
            raise AudioEncrypted
        if status:
            raise failure(complaints, status)
        if not samples.received:
            raise failure(complaints, status) if complaints else AudioEmpty()
        return complaints

    def _pump(self, process: subprocess.Popen[bytes], samples: _Samples, cancel: Cancel | None) -> bytes:
        """Move ffmpeg's samples to the spool until it has no more; returns what it complained of."""
        assert process.stdout is not None
        assert process.stderr is not None
        complaints = bytearray()
        give_up = time.monotonic() + self._stall_seconds
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            selector.register(process.stderr, selectors.EVENT_READ)
            while selector.get_map():
                _check(cancel)
                if time.monotonic() > give_up:
                    raise AudioUndecodable(f"The decoder gave no audio for {self._stall_seconds:g} s.")
                # what is said before the first sample must be read before it: stderr first
                for key, _ in sorted(selector.select(TICK), key=lambda ready: ready[0].fileobj is process.stdout):
                    data = os.read(key.fd, BLOCK_BYTES)
                    if not data:
                        selector.unregister(key.fileobj)
                    elif key.fileobj is process.stderr:
                        complaints += data[: COMPLAINT_BYTES - len(complaints)]
                    else:
                        if not samples.received:
                            samples.add_silence(start_of(bytes(complaints)))
                        samples.add(data)
                        give_up = time.monotonic() + self._stall_seconds
        return real(bytes(complaints))

    def _damage(self, complaints: bytes) -> tuple[Notice, ...]:
        about_sound = damage(complaints, self.ffmpeg.path)
        if not about_sound:
            return ()
        text = f"The file is damaged; what could be decoded was used ({first_line(about_sound)})."
        return (Notice(code="audio_damaged", message=text),)


class _Samples:
    """The spool's writing end: so much and no more, without a constant offset, and whoever listens is told."""

    def __init__(self, out: BinaryIO, max_seconds: float, on_block: Callable[[int], None]) -> None:
        self._out, self._max_seconds, self._on_block = out, max_seconds, on_block
        self._offset = OffsetRemover()
        self._waiting = bytearray()  # less than a block
        self._written = 0

    @property
    def received(self) -> int:
        """Bytes so far."""
        return self._written + len(self._waiting)

    def add(self, data: bytes) -> None:
        self._waiting += data
        if self.received > int(self._max_seconds * SAMPLE_RATE) * SAMPLE_BYTES:
            raise AudioTooLong(f"The audio is longer than {self._max_seconds / 3600:g} hours.")
        while len(self._waiting) >= BLOCK * SAMPLE_BYTES:
            self._put(BLOCK * SAMPLE_BYTES)

    def finish(self) -> None:
        """There are no more."""
        if whole := len(self._waiting) // SAMPLE_BYTES * SAMPLE_BYTES:
            self._put(whole)

    def _put(self, size: int) -> None:
        _write_all(self._out, self._offset.without(bytes(self._waiting[:size])))
        del self._waiting[:size]
        self._written += size
        self._on_block(self._written // SAMPLE_BYTES)

    def add_silence(self, seconds: float) -> None:
        left = SAMPLE_BYTES * round(min(seconds, self._max_seconds + 1) * SAMPLE_RATE)
        while left > 0:
            left -= len(block := bytes(min(left, BLOCK_BYTES)))
            self.add(block)


class PcmSpool:
    """Reads a spool, also while it is still being written. Safe to call from many threads."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)

    def read(self, start: int, end: int) -> NDArray[np.int16]:
        """Samples [start, end) as a read-only array of shape (end - start,). Raises EOFError if not all are there."""
        wanted = (end - start) * SAMPLE_BYTES
        data = os.pread(self._file.fileno(), wanted, start * SAMPLE_BYTES)
        if len(data) != wanted:
            raise EOFError(f"samples {start} to {end} are not all in the spool")
        return np.frombuffer(data, "<i2")

    def read_regions(self, regions: Iterable[Region]) -> NDArray[np.int16]:
        """The samples of several regions, spliced."""
        return np.concatenate([np.empty(0, np.int16), *(self.read(r.start, r.end) for r in regions)])

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _copy(file: BinaryIO, start: int, length: int, samples: _Samples, cancel: Cancel | None) -> bytes:
    """Samples that are already as they shall be. Nothing is complained of."""
    for place in range(start, start + length, BLOCK_BYTES):
        _check(cancel)
        samples.add(os.pread(file.fileno(), min(BLOCK_BYTES, start + length - place), place))
    return b""


def _check(cancel: Cancel | None) -> None:
    if cancel is not None and cancel.is_set():
        raise Cancelled


def _write_all(out: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:  # a raw file may take less than it is given when the disk fills up
        view = view[out.write(view) :]


@contextmanager
def _disk_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull from error
        raise


@contextmanager
def _regular_file(source: BinaryIO | Path, folder: Path, cancel: Cancel | None) -> Iterator[BinaryIO]:
    """The source as a seekable local file, at its start."""
    if isinstance(source, Path):
        try:
            file = source.open("rb", buffering=0)
        except FileNotFoundError as error:
            raise SourceMissing from error
        with file:
            yield file
    elif _is_regular(source):
        os.lseek(source.fileno(), 0, os.SEEK_SET)  # a buffered reader that sniffed is ahead of its own position
        yield source
    else:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as copy:
            while data := source.read(1024 * 1024):
                _check(cancel)
                _write_all(copy, data)
            copy.seek(0)
            yield copy


def _is_regular(source: BinaryIO) -> bool:
    """Whether the stream is a plain local file (a network response has a descriptor too: its socket)."""
    try:
        return stat.S_ISREG(os.fstat(source.fileno()).st_mode)
    except (OSError, AttributeError):  # io.UnsupportedOperation is an OSError
        return False
