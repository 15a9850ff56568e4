"""WAV files that are already what the engine hears, 16 kHz mono 16-bit PCM: their samples are taken as they lie.

Starting ffmpeg costs as much as a third of what a 5 s clip costs beyond the engine (docs/explanation/performance.md).
Everything else, and everything that is in the least unusual, is ffmpeg's. The layout is that of "Multimedia Programming
Interface and Data Specifications 1.0" (IBM and Microsoft, 1991).
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from core.chunks import SAMPLE_RATE

FORMAT = struct.pack("<HHIIHH", 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16)
"""The body of `fmt `: PCM, one channel, rate, bytes per second, bytes and bits per sample."""

MAX_CHUNKS = 16
"""Before the samples. More is unusual."""

_ASIDE = (b"LIST", b"JUNK", b"bext")


def plain_samples(file: BinaryIO) -> tuple[int, int] | None:
    """Where a plain WAV file has its samples: (first byte, number of bytes, at least 2); None = not such a file.

    file: a local file; its position stays. The samples must be all there, and be the last thing in the file.
    """
    number = file.fileno()
    size = os.fstat(number).st_size
    riff = os.pread(number, 12, 0)
    if riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
        return None
    place, described = 12, False
    for _ in range(MAX_CHUNKS):
        header = os.pread(number, 8, place)
        if len(header) < 8:
            return None
        name, length = header[:4], int.from_bytes(header[4:], "little")
        place += 8
        if name == b"data":
            whole = described and length > 0 and length % 2 == 0 and place + length == size
            return (place, length) if whole else None
        if name == b"fmt ":
            if described or length != len(FORMAT) or os.pread(number, length, place) != FORMAT:
                return None
            described = True
        elif name not in _ASIDE:
            return None
        place += length + length % 2
    return None
