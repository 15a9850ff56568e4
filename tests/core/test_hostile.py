"""Files made to do harm, and broken ones: each ends with its own stable code, soon, and reads nothing but itself."""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from core.audio.decoder import Decoder, PcmSpool
from core.audio.ffmpeg import find
from core.audio.fragments import restarts
from core.audio.probe import probe
from core.audio.sniff import HEAD_BYTES, encrypted, sniff
from core.errors import NotMedia
from testbed.audio_bank import ffmpeg, speech, write

FFMPEG = find()
CAP = 60.0
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


def wav(samples: bytes, *, rate: int = 16_000, channels: int = 1, claimed: int | None = None) -> bytes:
    """A 16-bit WAV whose header may lie about the length."""
    size = len(samples) if claimed is None else claimed
    rest = rate * 2 * channels & 0xFFFFFFFF
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rest, 2 * channels, 16)
    return (
        struct.pack("<4sI4s", b"RIFF", min(36 + size, 0xFFFFFFFF), b"WAVE")
        + form
        + struct.pack("<4sI", b"data", size)
        + samples
    )


def mp4(folder: Path, *options: str) -> bytes:
    return write(folder / "made.mp4", speech(0.1)[0], "-c:a", "aac", *options).read_bytes()


def flac_bomb(folder: Path) -> bytes:
    """An hour of nothing in a few kilobytes."""
    ffmpeg("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-t", "3600", str(folder / "bomb.flac"))
    return (folder / "bomb.flac").read_bytes()


def silent_film(folder: Path) -> bytes:
    ffmpeg("-f", "lavfi", "-i", "testsrc=size=64x64:rate=5:duration=1", "-c:v", "mpeg4", str(folder / "film.mp4"))
    return (folder / "film.mp4").read_bytes()


def concat(folder: Path) -> bytes:
    """A playlist that names a file which does lie beside it."""
    write(folder / "neighbour.wav", speech(0.05)[0])
    return b"ffconcat version 1.0\nfile neighbour.wav\n"


def playlist(folder: Path) -> bytes:
    write(folder / "neighbour.ts", speech(0.05)[0])
    return b"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nneighbour.ts\n#EXT-X-ENDLIST\n"


CENC = ("-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "0123456789abcdef" * 2, "-encryption_kid", "00" * 16)
Maker = Callable[[Path], bytes]

#: name -> how it is made, the code it ends with
REFUSED: dict[str, tuple[Maker, str]] = {
    "bomb.flac": (flac_bomb, "audio_too_long"),
    "one_hertz.wav": (lambda _: wav(bytes(20_000), rate=1), "audio_too_long"),
    "channels.wav": (lambda _: wav(bytes(255 * 2000), channels=255), "audio_undecodable"),
    "rate.wav": (lambda _: wav(bytes(20_000), rate=4_000_000_000), "audio_undecodable"),
    "zero_rate.wav": (lambda _: wav(bytes(20_000), rate=0), "audio_undecodable"),
    "no_samples.wav": (lambda _: wav(b""), "audio_empty"),
    "header_only.wav": (lambda _: wav(b"", claimed=1_000_000), "audio_empty"),
    "no_moov.mp4": (lambda folder: mp4(folder)[:20_000], "audio_undecodable"),
    "silent.mp4": (silent_film, "no_audio_stream"),
    "locked.mp4": (lambda folder: mp4(folder, *CENC), "audio_encrypted"),
    "locked.m4a": (lambda folder: mp4(folder, "-f", "ipod", *CENC), "audio_encrypted"),
}
#: the same for files that are refused at the door already, should they ever get past it
NO_MEDIA: dict[str, tuple[Maker, str]] = {
    "concat.mp3": (concat, "a playlist"),
    "playlist.mp3": (playlist, "a playlist"),
    "garbage.mp3": (lambda _: np.random.default_rng(1).bytes(100_000), "no audio or video"),
    "zeros.wav": (lambda _: bytes(100_000), "no audio or video"),
    "text.wav": (lambda _: b"Ein Brief, kein Ton.\n" * 50, "a text file"),
    "unicode.mp3": (lambda _: "Ein Brief, kein Ton.\n".encode("utf-16") * 50, "no audio or video"),
    "page.mp3": (lambda _: b"\xef\xbb\xbf\n<!DOCTYPE html><html><body>Not found", "a web page"),
    "paper.m4a": (lambda _: b"%PDF-1.7\n" + bytes(100), "a PDF"),
    "office.wav": (lambda _: b"PK\x03\x04" + bytes(100), "a ZIP archive"),
    "picture.mp4": (lambda _: PNG, "an image"),
    "stream.sdp": (lambda _: b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n", "a text file"),
    "titles.srt": (lambda _: b"1\n00:00:01,000 --> 00:00:02,000\nHello\n", "a text file"),
    "empty.wav": (lambda _: b"", "an empty file"),
}


def code_of(path: Path) -> str:
    """How the decode of a file ends; checks that it took little time and little disk."""
    spool, started = path.with_suffix(".pcm"), time.monotonic()
    with pytest.raises(Exception) as caught:
        Decoder(FFMPEG, max_seconds=CAP).decode(path, spool)
    assert time.monotonic() - started < 5
    assert spool.stat().st_size <= (CAP + 4) * 32_000
    assert str(path.parent) not in str(caught.value)
    return str(getattr(caught.value, "code", repr(caught.value)))


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_the_decoder(name: str, tmp_path: Path) -> None:
    make, code = REFUSED[name]
    path = tmp_path / name
    path.write_bytes(make(tmp_path))
    assert code_of(path) == code


@pytest.mark.parametrize("name", NO_MEDIA)
def test_refused_at_the_door_and_by_the_decoder(name: str, tmp_path: Path) -> None:
    make, looks_like = NO_MEDIA[name]
    path = tmp_path / name
    path.write_bytes(make(tmp_path))
    with pytest.raises(NotMedia, match=looks_like):
        sniff(path.read_bytes()[:HEAD_BYTES], name, partial(probe, FFMPEG))
    assert code_of(path) == "audio_undecodable"
    assert path.with_suffix(".pcm").stat().st_size == 0, "something was read after all"


@pytest.mark.parametrize("claimed", [0xFFFFFFFF, 0x7FFFFFFF, 2_000_000_000])
def test_a_wav_that_lies_about_its_length_gives_what_it_has(claimed: int, tmp_path: Path) -> None:
    said = speech(0.05)[0]
    (tmp_path / "lie.wav").write_bytes(wav(said.tobytes(), claimed=claimed))
    audio = Decoder(FFMPEG, max_seconds=CAP).decode(tmp_path / "lie.wav", tmp_path / "spool")
    with PcmSpool(tmp_path / "spool") as pcm:
        np.testing.assert_array_equal(pcm.read(0, audio.samples), said)


@pytest.mark.parametrize("suffix", ["webm", "mp3", "flac", "ogg", "m4a"])
def test_a_damaged_file_gives_what_it_has_and_a_warning(suffix: str, tmp_path: Path) -> None:
    options = ("-movflags", "+faststart") if suffix == "m4a" else ()
    path = write(tmp_path / f"whole.{suffix}", speech(0.5)[0], *options)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = np.random.default_rng(3).bytes(3000)
    path.write_bytes(data[: len(data) * 9 // 10])
    audio = Decoder(FFMPEG, max_seconds=CAP).decode(path, tmp_path / "spool")
    assert 15 < audio.duration < 31
    assert [warning.code for warning in audio.warnings] == ["audio_damaged"]
    assert str(tmp_path) not in audio.warnings[0].message


def test_fragments_without_end_or_of_nonsense(tmp_path: Path) -> None:
    path, started = tmp_path / "a.mp4", time.monotonic()
    ftyp, moof = b"\0\0\0\x0cftypisom", b"\0\0\0\x18moof\0\0\0\x10traf\0\0\0\x04tfhd"
    for data in (
        ftyp + b"\0\0\0\x08free" * 500_000,
        ftyp + moof * 200_000,
        ftyp + b"\0\0\0\0moof",
        ftyp + b"\xff" * 100,
        b"",
    ):
        path.write_bytes(data)
        with path.open("rb") as file:
            assert not restarts(file)
    assert time.monotonic() - started < 5


def test_boxes_without_end_do_not_hold_up_the_search_for_encryption() -> None:
    started = time.monotonic()
    assert not encrypted(io.BytesIO(b"\0\0\0\x08free" * 500_000))
    assert not encrypted(io.BytesIO(b"\0\0\0\0moov" * 500_000))
    assert not encrypted(io.BytesIO(b"\0\0\0\x01moov" + bytes(8)))
    assert time.monotonic() - started < 5
