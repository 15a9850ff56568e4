"""Whatever the timestamps say: every sound is heard, in order, and at its time where that can be known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from core.audio.decoder import DecodedAudio, Decoder, PcmSpool
from core.audio.ffmpeg import find
from core.audio.samples import SAMPLE_RATE
from testbed.audio_bank import ffmpeg, speech, write
from tests.core.test_formats_in import assert_same_speech

DECODER = Decoder(find(), max_seconds=60)
OPUS = ("-c:a", "libopus", "-b:a", "64k", "-frame_duration", "20")
#: file name -> options for the first and the second of the recordings that are joined
JOINED = {
    "both.webm": (OPUS, OPUS),
    "both.mka": (("-c:a", "flac"), ("-c:a", "flac")),
    "both.ogg": (OPUS, OPUS),
    "both.flac": ((), ()),
    "both.ts": (("-c:a", "mp2", "-ar", "48000"),) * 2,
    "rates.mp3": (("-ar", "44100", "-b:a", "64k"), ("-ar", "22050", "-b:a", "64k")),
    "channels.aac": (("-ar", "44100"), ("-ar", "22050", "-ac", "2")),
}
#: timestamps of packet N, of 20 ms, as the expression of ffmpeg's `setts`
UNEVEN = {
    "all zero": "0",
    "zero for a while": "if(between(N,100,300),0,PTS)",
    "bursts of 250 ms": "floor(PTS/250)*250",
    "bursts of 500 ms": "floor(PTS/500)*500",
    "late by up to 300 ms": "PTS+300*mod(N*7,10)/10",
    "one an hour ahead": "if(eq(N,100),PTS+3600000,PTS)",
    "one in the past": "if(eq(N,100),0,PTS)",
}


def decoded(path: Path) -> tuple[NDArray[np.int16], DecodedAudio]:
    audio = DECODER.decode(path, path.with_suffix(".pcm"))
    with PcmSpool(path.with_suffix(".pcm")) as pcm:
        return pcm.read(0, audio.samples), audio


@pytest.mark.parametrize("name", JOINED)
def test_joined_recordings_are_heard_one_after_the_other(name: str, tmp_path: Path) -> None:
    # the second is the shorter: all of it lies where the first one was already
    parts = [speech(0.15, seed=1)[0], speech(0.1, seed=2)[0]]
    files = [write(tmp_path / f"{n}{name}", pcm, *JOINED[name][n]) for n, pcm in enumerate(parts)]
    (tmp_path / name).write_bytes(b"".join(file.read_bytes() for file in files))
    heard, _ = decoded(tmp_path / name)
    assert abs(len(heard) - len(np.concatenate(parts))) < 0.15 * SAMPLE_RATE
    assert_same_speech(heard[: len(parts[0])], parts[0])
    # encoders put silence around each: behind the first, and before the second
    assert_same_speech(heard[len(parts[0]) :], parts[1], latest=15)


@pytest.mark.parametrize("name", UNEVEN)
def test_uneven_timestamps_cost_no_sound(name: str, tmp_path: Path) -> None:
    said = speech(0.15)[0]
    heard, audio = decoded(write(tmp_path / "a.mka", said, *OPUS, "-bsf:a", f"setts=pts='{UNEVEN[name]}'"))
    assert_same_speech(heard, said)
    assert audio.warnings == ()


@pytest.mark.parametrize("hole", [0.4, 3.0, 30.0])
def test_holes_become_silence(hole: float, tmp_path: Path) -> None:
    said, start = speech(0.1)[0], 46 * 1024
    shift = f"asetnsamples=n=1024:p=0,asetpts='PTS+if(gte(N,{start}),{hole}*SR,0)'"
    heard, _ = decoded(write(tmp_path / "a.mka", said, "-af", shift, "-c:a", "pcm_s16le"))
    assert len(heard) == pytest.approx(len(said) + hole * SAMPLE_RATE, abs=SAMPLE_RATE / 500)
    end = len(heard) - len(said) + start
    np.testing.assert_array_equal(heard[:start], said[:start])
    np.testing.assert_array_equal(heard[end:], said[start:])
    assert not heard[start:end].any()


def test_sound_that_starts_late_and_changes_its_rate_is_late_once(tmp_path: Path) -> None:
    parts = [speech(0.1, seed=seed)[0] for seed in (1, 2)]
    for n, (pcm, rate) in enumerate(zip(parts, ("48000", "32000"), strict=True)):
        write(tmp_path / f"{n}.mp2", pcm, "-ar", rate)
    (tmp_path / "both.mp2").write_bytes((tmp_path / "0.mp2").read_bytes() + (tmp_path / "1.mp2").read_bytes())
    picture = ("-f", "lavfi", "-i", "testsrc=size=64x64:rate=10:duration=5", "-itsoffset", "3")
    ffmpeg(*picture, "-i", str(tmp_path / "both.mp2"), "-c:a", "copy", "-c:v", "mpeg4", str(tmp_path / "a.mkv"))
    heard, _ = decoded(tmp_path / "a.mkv")
    assert np.abs(heard[: int(2.9 * SAMPLE_RATE)]).max() < 50
    assert_same_speech(heard[3 * SAMPLE_RATE :], np.concatenate(parts))


def test_a_sound_track_behind_forty_others_is_whole(tmp_path: Path) -> None:
    """Films have a track of subtitles for each language, and their fonts as attachments."""
    said = speech(0.2)[0]
    cues = "".join(f"{n}\n00:00:{n:02},000 --> 00:00:{n:02},900\nword\n\n" for n in range(1, 11))
    (tmp_path / "a.srt").write_text(cues, encoding="utf-8")
    voice = write(tmp_path / "a.wav", said)
    others = [option for n in range(40) for option in ("-map", "0:s")]
    ffmpeg(
        "-i", str(tmp_path / "a.srt"), "-i", str(voice), *others, "-map", "1:a", "-c:a", "flac", str(tmp_path / "a.mkv")
    )
    heard, audio = decoded(tmp_path / "a.mkv")
    np.testing.assert_array_equal(heard, said)
    assert audio.warnings == ()


def test_a_broken_picture_is_no_damage_and_broken_sound_is(tmp_path: Path) -> None:
    voice = write(tmp_path / "a.wav", speech(0.2)[0])
    picture = (
        "-f",
        "lavfi",
        "-i",
        "testsrc=size=64x64:rate=1:duration=1",
        "-c:v",
        "mjpeg",
        "-disposition:v",
        "attached_pic",
    )
    ffmpeg("-i", str(voice), *picture, "-map", "0", "-map", "1", "-b:a", "64k", str(tmp_path / "a.mp3"))
    file = (tmp_path / "a.mp3").read_bytes()
    assert file.count(b"image/jpeg\0") == 1
    (tmp_path / "named.mp3").write_bytes(file.replace(b"image/jpeg\0", b"image/png\0\0"))
    assert decoded(tmp_path / "named.mp3")[1].warnings == ()
    noise = np.random.default_rng(3).bytes(3000)
    (tmp_path / "broken.mp3").write_bytes(file[: len(file) // 2] + noise + file[len(file) // 2 + 3000 :])
    assert [warning.code for warning in decoded(tmp_path / "broken.mp3")[1].warnings] == ["audio_damaged"]
