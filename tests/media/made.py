"""Media made on the spot: sentences of the bank, encoded, joined, patched and broken."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.audio.samples import SAMPLE_RATE
from testbed.audio_bank import ffmpeg, sentence, write

Pcm = NDArray[np.int16]
Said = tuple[tuple[float, str], ...]
"""What is said in a file: start of a sentence in seconds, and its words."""

LEAD = 0.3
"""Silence before the sentence of a clip, seconds."""
CLIP = 2.5
"""Length of a clip, seconds."""
NUMBERS = (2, 56, 60)
"""Sentences of the bank that a lossy codec does not change for the demo model."""
PICTURE = ("-f", "lavfi", "-i", f"testsrc=size=64x64:rate=10:duration={2 * CLIP}")


@cache
def clip(n: int = 0) -> Pcm:
    """The n-th clip: LEAD of near silence, a sentence, near silence up to CLIP seconds."""
    pcm, _ = sentence(NUMBERS[n])
    noise = np.random.default_rng(n).normal(0, 3, round(CLIP * SAMPLE_RATE))
    noise[round(LEAD * SAMPLE_RATE) :][: len(pcm)] += pcm
    return noise.astype(np.int16)


def said(*clips: int, at: tuple[float, ...] = ()) -> Said:
    """Truth for clips one after the other, or each at its own time."""
    starts = at or tuple(CLIP * n for n in range(len(clips)))
    return tuple((start + LEAD, sentence(NUMBERS[n])[1]) for start, n in zip(starts, clips, strict=True))


def encoded(folder: Path, name: str, options: str = "", n: int = 0) -> Path:
    """One clip in the format of the name's suffix."""
    return write(folder / name, clip(n), *options.split())


def film(folder: Path, name: str, options: str, *, late: float = 0.0) -> Path:
    """A moving picture and a clip; the sound starts `late` seconds after the picture."""
    voice = write(folder / "voice.wav", clip())
    ffmpeg(
        *PICTURE,
        "-itsoffset",
        str(late),
        "-i",
        str(voice),
        "-map",
        "0:v",
        "-map",
        "1:a",
        *options.split(),
        str(folder / name),
    )
    return folder / name


def joined(folder: Path, name: str, first: str = "", second: str | None = None) -> Path:
    """Two recordings, one file behind the other: `cat`."""
    parts = [
        encoded(folder, f"{n}-{name}", first if second is None or not n else second, n).read_bytes() for n in (0, 1)
    ]
    (folder / name).write_bytes(b"".join(parts))
    return folder / name


def with_gap(folder: Path, name: str, options: str, seconds: float = 2.0) -> Path:
    """Two clips, and between them timestamps that leave a hole."""
    whole = write(folder / f"whole-{name}", np.concatenate([clip(0), clip(1)]), *options.split())
    later = [f"if(gte({clock}*TB,{CLIP}),{clock}+{seconds}/TB,{clock})" for clock in ("PTS", "DTS")]
    shift = "setts=pts='{}':dts='{}'".format(*later)
    ffmpeg("-i", str(whole), "-c", "copy", "-bsf:a", shift, str(folder / name))
    return folder / name


def bytes_of(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def restamped(folder: Path, name: str, options: str, clock: Callable[[int, int], int]) -> Path:
    """Two clips whose packets say other times. clock: number and milliseconds of a packet -> milliseconds."""
    whole = write(folder / f"even-{name}", np.concatenate([clip(0), clip(1)]), *options.split())
    data = bytearray(whole.read_bytes())
    (_restamp_flv if name.endswith(".flv") else _restamp_matroska)(data, clock)
    return bytes_of(folder, name, bytes(data))


def _restamp_flv(data: bytearray, clock: Callable[[int, int], int]) -> None:
    """Adobe Flash Video File Format 10.1, E.4.1: a tag is type, size (24 bits), time in ms (24 bits and 8 above them)."""
    place, number = 13, 0
    while place + 11 <= len(data):
        size = int.from_bytes(data[place + 1 : place + 4])
        if data[place] == 8 and data[place + 12]:  # sound, and no header of AAC
            ms = int.from_bytes(data[place + 4 : place + 7]) | data[place + 7] << 24
            ms = clock(number, ms)
            data[place + 4 : place + 7], data[place + 7] = (ms & 0xFFFFFF).to_bytes(3), ms >> 24
            number += 1
        place += size + 15


def _restamp_matroska(data: bytearray, clock: Callable[[int, int], int]) -> None:
    """RFC 9559: a SimpleBlock has its time as 16 bits with sign, relative to its cluster's."""
    place, number, cluster = 0, 0, 0
    while place < len(data):
        kind, place = _number(data, place, marker=True)
        size, body = _number(data, place)
        if kind in (0x18538067, 0x1F43B675):  # Segment, Cluster: what is inside follows
            place = body
            continue
        if kind == 0xE7:  # Timestamp
            cluster = int.from_bytes(data[body : body + size])
        elif kind == 0xA3:
            (ms,) = struct.unpack_from(">h", data, body + 1)
            struct.pack_into(">h", data, body + 1, clock(number, cluster + ms) - cluster)
            number += 1
        place = body + size


def _number(data: bytearray, place: int, *, marker: bool = False) -> tuple[int, int]:
    """EBML's variable length number (RFC 8794 4), and the place behind it."""
    length = 9 - data[place].bit_length()
    value = int.from_bytes(data[place : place + length])
    return (value if marker else value & (1 << 7 * length) - 1), place + length


def layout(folder: Path, name: str, graph: str, options: str = "") -> Path:
    """A clip, made into several channels by a filter."""
    voice = write(folder / "voice.wav", clip())
    ffmpeg("-i", str(voice), "-af", graph, *options.split(), str(folder / name))
    return folder / name


def tracks(folder: Path, name: str, *sounds: int | None, options: str = "", subtitles: int = 0, fonts: int = 0) -> Path:
    """Several tracks: clips by number, None for silence; subtitles and fonts before them."""
    given = []
    for n in range(subtitles):
        title = bytes_of(folder, f"{n}.srt", b"1\n00:00:00,000 --> 00:00:01,000\nHello\n")
        given += ["-i", str(title)]
    for n, sound in enumerate(sounds):
        pcm = np.zeros(round(CLIP * SAMPLE_RATE), np.int16) if sound is None else clip(sound)
        given += ["-i", str(write(folder / f"{n}.wav", pcm))]
    mapped = [word for n in range(subtitles + len(sounds)) for word in ("-map", str(n))]
    font = bytes_of(folder, "a.ttf", bytes(1000))
    attached = [
        word for n in range(fonts) for word in ("-attach", str(font), f"-metadata:s:t:{n}", "mimetype=font/ttf")
    ]
    ffmpeg(*given, *mapped, *attached, *options.split(), str(folder / name))
    return folder / name


def cut(folder: Path, name: str, options: str, start: int, *, before: bytes = b"") -> Path:
    """A recording without its first bytes, or with others in front."""
    whole = encoded(folder, f"whole-{name}", options).read_bytes()
    return bytes_of(folder, name, before + whole[start:])


def harmed(folder: Path, name: str, options: str, *, tail: float = 0.0, noise: int = 0) -> Path:
    """Two clips, without the last share `tail` of the bytes, or with `noise` random bytes in the middle."""
    data = write(folder / f"whole-{name}", np.concatenate([clip(0), clip(1)]), *options.split()).read_bytes()
    place = len(data) // 2
    data = data[:place] + np.random.default_rng(5).bytes(noise) + data[place + noise :]
    return bytes_of(folder, name, data[: round(len(data) * (1 - tail))])


def with_cover(folder: Path, name: str, options: str, *, lie: bool) -> Path:
    """A clip with a picture as its cover; lie: the file calls the JPEG a PNG."""
    ffmpeg("-f", "lavfi", "-i", "testsrc=size=32x32:duration=1:rate=1", "-frames:v", "1", str(folder / "cover.jpg"))
    voice = write(folder / "voice.wav", clip())
    cover = (
        "-i",
        str(folder / "cover.jpg"),
        "-map",
        "0:a",
        "-map",
        "1:v",
        "-c:v",
        "copy",
        "-disposition:v",
        "attached_pic",
    )
    ffmpeg("-i", str(voice), *cover, *options.split(), str(folder / name))
    data = (folder / name).read_bytes()
    if lie:
        assert b"image/jpeg" in data
        data = data.replace(b"image/jpeg", b"image/png\0" if name.endswith(".mp3") else b"image/png ")
    return bytes_of(folder, name, data)
