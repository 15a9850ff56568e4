"""Plain WAV files need no ffmpeg; whatever ffmpeg might hear otherwise is left to it."""

from __future__ import annotations

import io
import struct
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core.audio.decoder import Decoder
from core.audio.ffmpeg import Ffmpeg, find
from core.audio.sniff import sniff
from core.audio.wav import HEAD_BYTES, OPEN_HEADER, head, plain_samples
from core.errors import ServiceError
from testbed.audio_bank import ffmpeg, speech, write

FFMPEG = find()
NO_FFMPEG = Ffmpeg(path="/nowhere/ffmpeg", version="7")
SAID = speech(0.1)[0].astype("<i2").tobytes()


def chunk(name: bytes, body: bytes, length: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if length is None else length) + body + bytes(len(body) % 2)


def riff(*chunks: bytes, kind: bytes = b"WAVE") -> bytes:
    body = kind + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def form(*, tag: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16) -> bytes:
    width = channels * bits // 8
    return struct.pack("<HHIIHH", tag, channels, rate, rate * width, width, bits)


FMT, DATA = chunk(b"fmt ", form()), chunk(b"data", SAID)
ASIDE = chunk(b"LIST", b"INFOISFT\x04\0\0\0me!\0")

PLAIN = {
    "as short as can be": riff(FMT, DATA),
    "with tags": riff(FMT, ASIDE, DATA),
    "tags of odd length, a broadcaster's chunk, room": riff(
        chunk(b"JUNK", b"abc"), FMT, chunk(b"bext", bytes(602)), DATA
    ),
    "one sample": riff(FMT, chunk(b"data", b"\1\0")),
    "an unknown chunk": riff(FMT, chunk(b"fact", bytes(4)), DATA),
    "a longer format chunk": riff(chunk(b"fmt ", form() + b"\0\0"), DATA),
    "RIFF's length never filled in": b"RIFF\xff\xff\xff\xff" + riff(FMT, DATA)[8:],
}
NOT_PLAIN = {
    "44.1 kHz": riff(chunk(b"fmt ", form(rate=44_100)), DATA),
    "stereo": riff(chunk(b"fmt ", form(channels=2)), DATA),
    "8 bits": riff(chunk(b"fmt ", form(bits=8)), DATA),
    "24 bits": riff(chunk(b"fmt ", form(bits=24)), chunk(b"data", SAID[:48_000])),
    "float": riff(chunk(b"fmt ", form(tag=3, bits=32)), DATA),
    "A-law": riff(chunk(b"fmt ", form(tag=6, bits=8)), DATA),
    "two formats": riff(FMT, chunk(b"fmt ", form(rate=8_000)), DATA),
    "samples before the format": riff(DATA, FMT),
    "samples in two places": riff(FMT, DATA, DATA),
    "tags after the samples": riff(FMT, DATA, ASIDE),
    "cut off": riff(FMT, DATA)[:-100],
    "length never filled in": riff(FMT, chunk(b"data", SAID, 0xFFFFFFFF)),
    "length 0": riff(FMT, chunk(b"data", SAID, 0)),
    "half a sample": riff(FMT, chunk(b"data", SAID[:-1])),
    "no samples": riff(FMT, chunk(b"data", b"")),
    "no data": riff(FMT),
    "samples far from the start": riff(FMT, *[chunk(b"JUNK", b"")] * (HEAD_BYTES // 8), DATA),
    "no rate, no channels": riff(chunk(b"fmt ", bytes(16)), DATA),
    "a format cut short": riff(chunk(b"fmt ", form()[:10]), DATA),
    "only a beginning": riff(FMT, DATA)[:14],
    "a length that leads nowhere": riff(FMT, chunk(b"LIST", b"", 0xFFFFFFF0), DATA),
    "a film": riff(FMT, DATA, kind=b"AVI "),
    "no RIFF": b"RIFX" + riff(FMT, DATA)[4:],
    "nothing": b"",
}


def place(data: bytes, folder: Path) -> tuple[int, int] | None:
    path = folder / "a.wav"
    path.write_bytes(data)
    with path.open("rb") as file:
        file.seek(min(7, len(data)))
        found = plain_samples(file)
        assert file.tell() == min(7, len(data)), "the position stays"
    return found


@pytest.mark.parametrize("name", PLAIN)
def test_the_samples_are_what_ffmpeg_makes_of_them(name: str, tmp_path: Path) -> None:
    found = place(PLAIN[name], tmp_path)
    assert found is not None
    start, length = found
    assert PLAIN[name][start : start + length] in (SAID, b"\1\0")
    told: list[int] = []
    audio = Decoder(NO_FFMPEG, max_seconds=60).decode(tmp_path / "a.wav", tmp_path / "copied", on_block=told.append)
    assert (audio.samples, told[-1], audio.warnings) == (length // 2, length // 2, ())
    with (tmp_path / "a.wav").open("ab") as file:
        file.write(ASIDE)  # no longer plain, and the same to ffmpeg
    assert Decoder(FFMPEG, max_seconds=60).decode(tmp_path / "a.wav", tmp_path / "decoded") == audio
    assert (tmp_path / "copied").read_bytes() == (tmp_path / "decoded").read_bytes()


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_everything_else_is_ffmpegs(name: str, tmp_path: Path) -> None:
    assert place(NOT_PLAIN[name], tmp_path) is None
    with pytest.raises(ServiceError, match="can no longer be started"):
        Decoder(NO_FFMPEG, max_seconds=60).decode(tmp_path / "a.wav", tmp_path / "spool")


def by_ffmpeg(path: Path) -> None:
    write(path, np.frombuffer(SAID, "<i2"))


def by_python(path: Path) -> None:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(SAID)


@pytest.mark.parametrize("writer", [by_ffmpeg, by_python])
def test_what_common_programs_write_is_plain(writer: Callable[[Path], None], tmp_path: Path) -> None:
    writer(tmp_path / "a.wav")
    audio = Decoder(NO_FFMPEG, max_seconds=60).decode(io.BytesIO((tmp_path / "a.wav").read_bytes()), tmp_path / "spool")
    assert audio.duration == 6.0 and (tmp_path / "spool").read_bytes() == SAID


def test_samples_behind_a_head_that_does_not_say_how_many(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(OPEN_HEADER + SAID)
    audio = Decoder(FFMPEG, max_seconds=60).decode(tmp_path / "a.wav", tmp_path / "spool")
    assert (audio.duration, audio.warnings) == (6.0, ()) and (tmp_path / "spool").read_bytes() == SAID
    assert sniff(OPEN_HEADER) == "audio/wav"


def test_samples_behind_a_head_are_a_file(tmp_path: Path) -> None:
    for channels in (1, 2):
        with wave.open(io.BytesIO(head(len(SAID), channels=channels) + SAID)) as wav:
            assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) == (channels, 2, 16_000)
            assert wav.readframes(wav.getnframes()) == SAID
    (tmp_path / "plain.wav").write_bytes(head(len(SAID)) + SAID)
    with (tmp_path / "plain.wav").open("rb") as file:
        assert plain_samples(file) == (44, len(SAID))


def test_what_is_longer_than_a_wav_file_counts_with_64_bits() -> None:
    assert head(2**32 - 100).startswith(b"RIFF")
    for size in (2**32 - 40, 5 << 30):
        long = head(size, channels=2)
        assert long.startswith(b"RF64") and sniff(long + SAID) == "audio/wav"
        riff, data, samples = struct.unpack("<QQQ", long[20:44])
        assert (riff, data, samples) == (len(long) - 8 + size, size, size // 4)
        decoded = ffmpeg("-i", "pipe:0", "-f", "s16le", "-c:a", "copy", "pipe:1", stdin=long + SAID)
        assert decoded == SAID, "as much of it as there is"
