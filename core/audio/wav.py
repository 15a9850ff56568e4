"""WAV files that are already what the engine hears, 16 kHz mono 16-bit PCM: their samples are taken as they lie.

ffmpeg would give the same, 30 ms later (docs/explanation/performance.md). Everything else is ffmpeg's.
"""

from __future__ import annotations

import io
import os
import struct
import wave
from typing import BinaryIO

from core.audio.samples import SAMPLE_RATE

HEAD_BYTES = 64 * 1024
"""The samples must begin within so much: no file can make this search long."""

_UNKNOWN = 0xFFFF_FFFF
OPEN_HEADER = struct.pack(
    "<4sI4s4sIHHIIHH4sI",
    *(b"RIFF", _UNKNOWN, b"WAVE"),
    *(b"fmt ", 16, 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16),
    *(b"data", _UNKNOWN),
)
"""What makes a WAV file of raw samples, 16 kHz mono 16-bit PCM, whose number nobody knows yet: they go on to the end of the file,
as ffmpeg writes and reads it."""


def head(size: int, *, channels: int = 1) -> bytes:
    """What makes a WAV file of so many bytes of samples, 16 kHz 16-bit PCM, interleaved.

    Above 4 GiB (18 hours of two channels) RF64, which counts with 64 bits (EBU Tech 3306).
    """
    frame = 2 * channels
    kind = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, SAMPLE_RATE, frame * SAMPLE_RATE, frame, 16)
    if size + len(OPEN_HEADER) < _UNKNOWN:
        return struct.pack("<4sI4s", b"RIFF", size + 36, b"WAVE") + kind + struct.pack("<4sI", b"data", size)
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, size + 72, size, size // frame, 0)
    return struct.pack("<4sI4s", b"RF64", _UNKNOWN, b"WAVE") + sizes + kind + struct.pack("<4sI", b"data", _UNKNOWN)


def plain_samples(file: BinaryIO) -> tuple[int, int] | None:
    """Where a plain WAV file has its samples: (first byte, number of bytes, at least 2); None = not such a file.

    file: a local file; its position stays. The samples must be all there, and be the last thing in the file.
    """
    head = io.BytesIO(os.pread(file.fileno(), HEAD_BYTES, 0))
    try:
        with wave.open(head) as wav:
            kind = wav.getnchannels(), wav.getsampwidth(), wav.getframerate()
            start, length = head.tell(), 2 * wav.getnframes()
    except (wave.Error, EOFError, RuntimeError):  # the last for lengths that lead out of the file
        return None
    whole = length > 0 and start + length == os.fstat(file.fileno()).st_size
    return (start, length) if whole and kind == (1, 2, SAMPLE_RATE) else None
