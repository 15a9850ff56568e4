"""Fragmented MP4 files whose clock goes back: recordings joined end to end, as browsers' recorders and cameras leave them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

MAX_BOXES = 100_000
"""Boxes looked at: no file can make this take more than about a second."""

MOOF_BYTES = 64 * 1024
"""How much of a fragment's head is read."""


def restarts(file: BinaryIO) -> bool:
    """Whether a fragment of an MP4 file starts no later than one before it (ISO 14496-12 8.8.12: `tfdt`).

    ffmpeg's demuxer marks all that lies before the latest time as not to be played. False for every other file. The
    file's position stays.
    """
    size = os.fstat(file.fileno()).st_size
    latest: dict[bytes, int] = {}
    place = 0
    for number in range(MAX_BOXES):
        head = os.pread(file.fileno(), 16, place)
        length, kind = int.from_bytes(head[:4]), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16])
        if length < 8 or place + length > size or (not number and kind != b"ftyp"):
            return False  # the last box, none at all, or no MP4 file
        if kind == b"moof":
            for track, start in _starts(os.pread(file.fileno(), min(length, MOOF_BYTES), place)):
                if start <= latest.get(track, -1):
                    return True
                latest[track] = start
        place += length
    return False


def _starts(moof: bytes) -> Iterator[tuple[bytes, int]]:
    """Track and time of the track fragments in a fragment's head."""
    for start, end in _boxes(moof, 8, len(moof), b"traf"):
        track = b""
        for body, _ in _boxes(moof, start, end, b"tfhd"):
            track = moof[body + 4 : body + 8]
        for body, _ in _boxes(moof, start, end, b"tfdt"):
            yield track, int.from_bytes(moof[body + 4 : body + (12 if moof[body : body + 1] == b"\1" else 8)])


def _boxes(data: bytes, place: int, end: int, kind: bytes) -> Iterator[tuple[int, int]]:
    """Bodies (start, end) of the boxes of one kind."""
    while place + 8 <= end:
        length = int.from_bytes(data[place : place + 4])
        if length < 8:
            return
        if data[place + 4 : place + 8] == kind:
            yield place + 8, min(place + length, end)
        place += length
