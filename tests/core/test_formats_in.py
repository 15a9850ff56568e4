"""Every format that phones, cameras and recorders write: recognised by its first bytes, decoded to the same speech."""

from __future__ import annotations

import json
import struct
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from core.audio.decoder import Decoder, PcmSpool
from core.audio.ffmpeg import find
from core.audio.probe import probe
from core.audio.samples import SAMPLE_RATE
from core.audio.sniff import HEAD_BYTES, sniff
from testbed.audio_bank import ffmpeg, speech, write

FFMPEG = find()
SAMPLES = Path(__file__).parents[2] / "whisper" / "data" / "samples"

#: file name -> encoder options, media type. These keep every sample of 16-bit mono speech at 16 kHz.
LOSSLESS = {
    "pcm16.wav": ("-c:a pcm_s16le", "audio/wav"),
    "pcm24.wav": ("-c:a pcm_s24le", "audio/wav"),
    "pcm32.wav": ("-c:a pcm_s32le", "audio/wav"),
    "float32.wav": ("-c:a pcm_f32le", "audio/wav"),
    "float64.wav": ("-c:a pcm_f64le", "audio/wav"),
    "rf64.wav": ("-rf64 always", "audio/wav"),
    "sony.w64": ("", "audio/x-w64"),
    "mac.aiff": ("", "audio/aiff"),
    "apple.caf": ("-c:a pcm_s16be", "audio/x-caf"),
    "sun.au": ("-c:a pcm_s16be", "audio/basic"),
    "free.flac": ("", "audio/flac"),
    "alac.m4a": ("-c:a alac", "audio/mp4"),
    "camera.avi": ("-c:a pcm_s16le", "video/x-msvideo"),
    "camera.mov": ("-c:a pcm_s16le", "video/quicktime"),
    "pack.wv": ("", "audio/x-wavpack"),
    "true.tta": ("", "audio/x-tta"),
    "creative.voc": ("-c:a pcm_s16le", "audio/x-voc"),
    "pcm.mka": ("-c:a pcm_s16le", "audio/x-matroska"),
}
LOSSY = {
    "pcm8.wav": ("-c:a pcm_u8", "audio/wav"),
    "telephone.wav": ("-c:a pcm_alaw -ar 8000", "audio/wav"),
    "rate8k.wav": ("-ar 8000", "audio/wav"),
    "rate44k.wav": ("-ar 44100", "audio/wav"),
    "rate96k.wav": ("-ar 96000 -c:a pcm_s24le", "audio/wav"),
    "stereo.wav": ("-ac 2", "audio/wav"),
    "surround.wav": ("-ac 6", "audio/wav"),
    "adpcm.wav": ("-c:a adpcm_ima_wav", "audio/wav"),
    "tagged.mp3": ("-b:a 64k -metadata title=talk", "audio/mpeg"),
    "bare.mp3": ("-b:a 32k -write_xing 0 -id3v2_version 0", "audio/mpeg"),
    "vbr44k.mp3": ("-q:a 4 -ar 44100 -ac 2", "audio/mpeg"),
    "radio.mp2": ("-f mp2 -ar 48000", "audio/mpeg"),
    "phone.m4a": ("-c:a aac -b:a 64k", "audio/mp4"),
    "adts.aac": ("-c:a aac -ar 44100", "audio/aac"),
    "vorbis.ogg": ("-c:a libvorbis", "audio/ogg"),
    "voice.opus": ("-c:a libopus -b:a 24k", "audio/ogg"),
    "voice.oga": ("-c:a flac", "audio/ogg"),
    "windows.wma": ("-c:a wmav2 -b:a 64k -ar 44100", "audio/x-ms-asf"),
    "recorder.amr": ("-c:a libopencore_amrnb -ar 8000 -b:a 12.2k", "audio/amr"),
    "phone.3gp": ("-c:a libopencore_amrnb -ar 8000 -b:a 12.2k", "video/3gpp"),
    "dolby.ac3": ("-c:a ac3 -ar 48000", "audio/ac3"),
    "dolby.eac3": ("-c:a eac3 -ar 48000", "audio/ac3"),
    "cinema.dts": ("-c:a dca -strict -2 -ar 48000", "audio/vnd.dts"),
    "disc.thd": ("-c:a truehd -strict -2 -ar 48000", "audio/vnd.dolby.mlp"),
    "disc.mlp": ("-c:a mlp -strict -2 -ar 48000", "audio/vnd.dolby.mlp"),
    "radio.loas": ("-c:a aac -f latm", "audio/mp4a-latm"),
    "game.adx": ("-c:a adpcm_adx", "audio/x-adx"),
    "browser.webm": ("-c:a libopus", "video/webm"),
    "flash.flv": ("-c:a libmp3lame -ar 44100", "video/x-flv"),
}
#: as LOSSY, beside a moving picture
VIDEO = {
    "camera.mp4": ("-c:a aac -c:v mpeg4", "video/mp4"),
    "phone.mov": ("-c:a aac -c:v mpeg4", "video/quicktime"),
    "screen.mkv": ("-c:a libopus -c:v mpeg4", "video/x-matroska"),
    "call.webm": ("-c:a libopus -c:v libvpx -deadline realtime", "video/webm"),
    "camcorder.ts": ("-c:a aac -c:v mpeg2video -r 25", "video/mp2t"),
    "camcorder.m2ts": ("-c:a aac -c:v mpeg2video -r 25 -f mpegts -mpegts_m2ts_mode 1", "video/mp2t"),
    "disc.mpg": ("-c:a mp2 -ar 48000 -c:v mpeg2video -r 25", "video/mpeg"),
    "broadcast.mxf": ("-c:a pcm_s16le -ar 48000 -c:v mpeg2video -r 25", "application/mxf"),
    "old.avi": ("-c:a libmp3lame -c:v mpeg4", "video/x-msvideo"),
    "old.wmv": ("-c:a wmav2 -c:v wmv2", "video/x-ms-asf"),
}


@pytest.fixture(scope="module")
def said() -> NDArray[np.int16]:
    return speech(0.2, seed=7)[0]


def decoded(path: Path, media_type: str) -> NDArray[np.int16]:
    with path.open("rb") as file:
        assert sniff(file.read(HEAD_BYTES), path.name) == media_type
    spool = path.with_suffix(".pcm")
    audio = Decoder(FFMPEG, max_seconds=60).decode(path, spool)
    assert audio.warnings == ()
    with PcmSpool(spool) as pcm:
        return pcm.read(0, audio.samples)


def loudness(pcm: NDArray[np.int16]) -> NDArray[np.float64]:
    """Energy of each 10 ms."""
    frames = pcm[: len(pcm) // 160 * 160].reshape(-1, 160).astype(np.float64)
    energy: NDArray[np.float64] = np.sqrt((frames**2).mean(axis=1))
    return energy


def assert_same_speech(heard: NDArray[np.int16], said: NDArray[np.int16], latest: int = 7) -> None:
    """As long, to 0.15 s (encoders pad to whole frames), equally modulated, and no later than an mp3 encoder's 70 ms
    (or `latest`, in 10 ms).
    """
    assert abs(len(heard) - len(said)) < 0.15 * SAMPLE_RATE
    ours, theirs = loudness(said), loudness(heard)
    lags = range(-20, 21)
    theirs = np.resize(theirs, len(ours) + 40)
    alike = [np.corrcoef(ours[20:-20], theirs[20 + lag :][: len(ours) - 40])[0, 1] for lag in lags]
    best = int(np.argmax(alike))
    assert alike[best] > 0.97
    assert abs(lags[best]) <= latest


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless(name: str, said: NDArray[np.int16], tmp_path: Path) -> None:
    options, media_type = LOSSLESS[name]
    heard = decoded(write(tmp_path / name, said, *options.split()), media_type)
    np.testing.assert_array_equal(heard, said)


@pytest.mark.parametrize("name", LOSSY)
def test_lossy(name: str, said: NDArray[np.int16], tmp_path: Path) -> None:
    options, media_type = LOSSY[name]
    assert_same_speech(decoded(write(tmp_path / name, said, *options.split()), media_type), said)


@pytest.mark.parametrize("name", VIDEO)
def test_video(name: str, said: NDArray[np.int16], tmp_path: Path) -> None:
    options, media_type = VIDEO[name]
    voice = write(tmp_path / "voice.wav", said)
    picture = ("-f", "lavfi", "-i", f"testsrc=size=64x64:rate=10:duration={len(said) / SAMPLE_RATE}")
    ffmpeg(*picture, "-i", str(voice), *options.split(), str(tmp_path / name))
    assert_same_speech(decoded(tmp_path / name, media_type), said)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm"])
def test_sound_that_starts_after_the_picture_keeps_its_place(
    suffix: str, said: NDArray[np.int16], tmp_path: Path
) -> None:
    voice, film = write(tmp_path / "voice.wav", said), tmp_path / f"film.{suffix}"
    picture = ("-f", "lavfi", "-i", "testsrc=size=64x64:rate=10:duration=5")
    ffmpeg(*picture, "-itsoffset", "3", "-i", str(voice), str(film))
    heard = decoded(film, {"mp4": "video/mp4", "mkv": "video/x-matroska", "webm": "video/webm"}[suffix])
    assert_same_speech(heard[3 * SAMPLE_RATE :], said)
    assert np.abs(heard[: int(2.9 * SAMPLE_RATE)]).max() < 50


CUT = ("cut.mp3", "cut.aac", "cut.ac3", "cut.ts", "ape.mp3", "twice.mp3", "junk.mp3", "icy.mp3")


@pytest.mark.parametrize("name", CUT)
def test_streams_that_start_in_the_middle_or_with_something_else(
    name: str, said: NDArray[np.int16], tmp_path: Path
) -> None:
    kind, suffix = name.split(".")
    options, media_type = {
        "mp3": ("-b:a 64k -id3v2_version 0 -write_xing 0", "audio/mpeg"),
        "aac": ("-c:a aac", "audio/aac"),
        "ac3": ("-c:a ac3 -ar 48000", "audio/ac3"),
        "ts": ("-c:a mp2 -ar 48000", "video/mp2t"),
    }[suffix]
    whole = write(tmp_path / f"whole.{suffix}", said, *options.split()).read_bytes()
    id3 = b"ID3\x04\0\0\0\0\0\x20" + bytes(32)
    ape = struct.pack("<8sIIII8x", b"APETAGEX", 2000, 32, 0, 0xA0000000)
    front = {
        "cut": b"",
        "ape": ape + bytes(32),
        "twice": id3 + id3,
        "junk": id3 + np.random.default_rng(5).bytes(700),
        "icy": b"ICY 200 OK\r\nicy-name: talk\r\n" + b"icy-notice: x\r\n" * 50 + b"\r\n",
    }[kind]
    (tmp_path / name).write_bytes(front + (whole[100:] if kind == "cut" else whole))
    with (tmp_path / name).open("rb") as file:
        assert sniff(file.read(HEAD_BYTES), name, partial(probe, FFMPEG)) == media_type
    audio = Decoder(FFMPEG, max_seconds=60).decode(tmp_path / name, tmp_path / "spool")
    with PcmSpool(tmp_path / "spool") as pcm:
        assert_same_speech(pcm.read(0, audio.samples), said, latest=12)


def test_old_quicktime_without_ftyp(said: NDArray[np.int16], tmp_path: Path) -> None:
    modern = write(tmp_path / "modern.mov", said, "-c:a", "pcm_s16le").read_bytes()
    old = tmp_path / "old.mov"
    # The first box goes; the sample offsets in `moov` are kept right by a `free` box of its size.
    size = int.from_bytes(modern[:4])
    old.write_bytes(modern[:4] + b"free" + bytes(size - 8) + modern[size:])
    np.testing.assert_array_equal(decoded(old, "video/quicktime"), said)


def test_the_demo_samples_are_what_their_truth_says(tmp_path: Path) -> None:
    truth = json.loads((SAMPLES / "truth.json").read_text(encoding="utf-8"))
    assert {path.name for path in SAMPLES.iterdir()} == {*truth, "truth.json"}
    for name, expected in truth.items():
        audio = Decoder(FFMPEG, max_seconds=60).decode(SAMPLES / name, tmp_path / "spool")
        assert audio.duration == expected["duration"]
        with PcmSpool(tmp_path / "spool") as pcm:
            for said in expected["utterances"]:
                assert loudness(pcm.read(int(said["start"] * SAMPLE_RATE), int(said["end"] * SAMPLE_RATE))).max() > 1000
