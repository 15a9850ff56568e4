"""Channels that are each decoded by themselves, and the hint that they had better be."""

from __future__ import annotations

import wave
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from core.audio.channels.apart import Channels
from core.audio.decoder import DecodedAudio, Decoder, PcmSpool
from core.audio.ffmpeg import find
from core.audio.samples import SAMPLE_RATE, Pcm
from core.audio.tracks import TrackChoice
from core.speech.strategies import region_source
from testbed.audio_bank import ffmpeg, speech
from whisper import VAD_MODEL
from whisper.vad.model import SileroModel
from whisper.vad.silero import SileroVad

FFMPEG = find()
Sound = NDArray[np.float64]


def recorded(path: Path, *channels: NDArray[np.generic], rate: int = SAMPLE_RATE) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.clip(np.stack(channels, axis=1), -32768, 32767).astype("<i2").tobytes())
    return path


def decoded(source: Path) -> tuple[DecodedAudio, list[Pcm]]:
    """Each channel; of one, mixed."""
    told: list[Channels] = []
    spool = source.with_suffix(".spool")
    audio = Decoder(FFMPEG, max_seconds=120).decode(source, spool, on_channels=told.append)
    count = told[0].count if told else 1
    with PcmSpool(spool, count) as pcm:
        return audio, [pcm.read(0, audio.samples, channel) for channel in range(count)]


def mixed(source: Path) -> Pcm:
    audio = Decoder(FFMPEG, max_seconds=60).decode(source, source.with_suffix(".mix"))
    with PcmSpool(source.with_suffix(".mix")) as pcm:
        return pcm.read(0, audio.samples)


@cache
def said(seed: int) -> Pcm:
    return speech(0.25, seed=seed)[0]


@pytest.mark.parametrize(
    ("suffix", "options"), [(".wav", ""), (".flac", "-ar 44100"), (".mka", "-ar 48000 -c:a pcm_s24le")]
)
def test_each_is_as_its_file_alone_to_the_sample(tmp_path: Path, suffix: str, options: str) -> None:
    three = [said(1), said(2) + np.int16(900), said(3)]  # one with a constant offset
    found, alone = [], []
    for name, channels in (("all", three), *((f"{n}", [one]) for n, one in enumerate(three))):
        source = recorded(tmp_path / f"{name}.wav", *channels)
        made = source
        if options or suffix != ".wav":
            made = source.with_suffix(suffix)
            ffmpeg("-i", str(source), *options.split(), "-y", str(made))
        if name == "all":
            audio, found = decoded(made)
            assert audio.samples == len(three[0]) and not audio.warnings
        else:
            alone.append(mixed(made))
    assert len(found) == 3
    for one, other in zip(found, alone, strict=True):
        np.testing.assert_array_equal(one, other)


def test_gaps_of_the_clock_are_silence_in_all_channels(tmp_path: Path) -> None:
    source = recorded(tmp_path / "a.wav", said(1), said(2))
    late = "asetpts='PTS+if(gte(T,10),3/TB,0)'"
    ffmpeg("-i", str(source), "-af", late, "-c:a", "pcm_s16le", "-y", str(tmp_path / "a.mka"))
    audio, channels = decoded(tmp_path / "a.mka")
    assert audio.samples == len(mixed(tmp_path / "a.mka")) == len(said(1)) + 3 * SAMPLE_RATE
    for one, seed in zip(channels, (1, 2), strict=True):
        gap = slice(10 * SAMPLE_RATE, 13 * SAMPLE_RATE)
        near = np.flatnonzero(one == 0)
        assert len(near) >= 2.5 * SAMPLE_RATE and not one[gap][SAMPLE_RATE // 4 : -SAMPLE_RATE // 4].any()
        np.testing.assert_array_equal(one[-SAMPLE_RATE:], said(seed)[-SAMPLE_RATE:])


@pytest.mark.parametrize("layout", ["5.1", "7.1", "quad", "2.1", "stereo"])
def test_layouts_of_cinemas(tmp_path: Path, layout: str) -> None:
    count = {"5.1": 6, "7.1": 8, "quad": 4, "2.1": 3, "stereo": 2}[layout]
    raw = np.stack([said(1) // (n + 1) for n in range(count)], axis=1).astype("<i2").tobytes()
    source = tmp_path / "a.flac"
    ffmpeg(*f"-f s16le -ar 16000 -ch_layout {layout} -i pipe:0 -y".split(), str(source), stdin=raw)
    _, channels = decoded(source)
    assert len(channels) == count
    for n, one in enumerate(channels):
        np.testing.assert_array_equal(one, said(1) // (n + 1))


def test_channels_that_come_and_go_keep_their_number(tmp_path: Path) -> None:
    """A stream that changes to one channel in between, as broadcasts do."""
    pieces = []
    for n, channels in enumerate(([said(1), said(2)], [said(3)], [said(1), said(2)])):
        source = recorded(tmp_path / f"{n}.wav", *channels)
        ffmpeg(
            "-i", str(source), "-c:a", "mp2", "-b:a", "192k", "-ar", "48000", "-f", "mp2", "-y", str(source) + ".mp2"
        )
        pieces.append(Path(str(source) + ".mp2").read_bytes())
    (tmp_path / "a.mp2").write_bytes(b"".join(pieces))
    audio, channels = decoded(tmp_path / "a.mp2")
    assert len(channels) == 2 and audio.samples == pytest.approx(3 * len(said(1)), abs=SAMPLE_RATE)
    middle = slice(len(said(1)) + SAMPLE_RATE, 2 * len(said(1)) - SAMPLE_RATE)
    np.testing.assert_allclose(channels[0][middle], channels[1][middle], atol=2)


def test_what_is_the_same_is_known_as_far_as_it_is() -> None:
    one, other = said(1)[: 4 * SAMPLE_RATE], said(2)[: 4 * SAMPLE_RATE]
    late = np.concatenate([one[: 2 * SAMPLE_RATE], other[2 * SAMPLE_RATE :]])
    pcm, channels = np.stack([one, late, one, np.zeros_like(one), np.zeros_like(one)], axis=1), Channels(5)
    differs = 2 * SAMPLE_RATE + int((one != late)[2 * SAMPLE_RATE :].argmax())
    for start in range(0, len(pcm), 7000):
        channels.add(pcm[start : start + 7000], start)
    assert [channels.is_apart(n, len(pcm)) for n in range(5)] == [True, True, False, True, False]
    assert not channels.is_apart(1, differs) and channels.is_apart(1, differs + 1)
    (notice,) = channels.notices()
    assert notice.code == "not_split" and "(channel 2)" in notice.message, "silence is no copy worth a word"


def test_they_are_those_of_the_track_that_is_chosen(tmp_path: Path) -> None:
    one, two = recorded(tmp_path / "1.wav", said(3)), recorded(tmp_path / "2.wav", said(1), said(2))
    ffmpeg(*f"-i {one} -i {two} -map 0 -map 1 -c:a flac -y {tmp_path / 'a.mka'}".split())
    told: list[Channels] = []
    choice = TrackChoice(wanted=1)
    decoder = Decoder(FFMPEG, max_seconds=60, choice=choice)
    audio = decoder.decode(tmp_path / "a.mka", tmp_path / "spool", on_channels=told.append)
    assert [one.count for one in told] == [2] and [one.code for one in audio.warnings] == ["other_audio_tracks"]
    with PcmSpool(tmp_path / "spool", 2) as pcm:
        np.testing.assert_array_equal(pcm.read(0, audio.samples, 1), said(2))


@pytest.mark.parametrize("count", [1, 16])
def test_too_few_and_too_many_are_mixed_and_that_is_told(tmp_path: Path, count: int) -> None:
    source = recorded(tmp_path / "a.wav", *[said(1)] * count, rate=8000)
    audio, (pcm,) = decoded(source)
    assert [notice.code for notice in audio.warnings] == ["not_split"] and str(
        count if count > 1 else "one"
    ) in audio.warnings[0].message
    np.testing.assert_array_equal(pcm, mixed(source))


# --- the hint
@cache
def detector() -> SileroModel:
    return SileroModel.read(VAD_MODEL)


def later(sound: Sound, seconds: float) -> Sound:
    return np.roll(sound, round(seconds * SAMPLE_RATE))


def room(sound: Sound, seed: int) -> Sound:
    """As a microphone far away hears it."""
    length = SAMPLE_RATE // 2
    echo = np.random.default_rng(seed).normal(0, 1, length) * np.exp(-7 * np.arange(length) / length)
    size = len(sound) + length
    return np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(echo / 20, size))[: len(sound)]


def music(seed: int) -> Sound:
    rng, t = np.random.default_rng(seed), np.arange(SAMPLE_RATE * 2 // 5)
    tones = [220, 262, 330, 392, 440, 523, 660, 784]
    bars = (np.sin(2 * np.pi * np.outer(t, rng.choice(tones, 3)) / SAMPLE_RATE).sum(axis=1) for _ in range(38))
    return 1500.0 * np.concatenate([bar * np.exp(-2 * t / len(t)) for bar in bars])[: len(said(1))]


def noise(seed: int, level: float) -> Sound:
    return np.random.default_rng(seed).normal(0, level, len(said(1)))


TURN = (np.arange(15 * SAMPLE_RATE) // (4 * SAMPLE_RATE)) % 2 == 0
Pair = Callable[[Sound, Sound], tuple[Sound, Sound]]
TWO_TALKS: dict[str, Pair] = {
    "at once": lambda a, b: (a, b),
    "in turn, noisy lines": lambda a, b: (a * TURN + noise(1, 60), b * ~TURN + noise(2, 60)),
    "crosstalk at 20 dB": lambda a, b: (a + 0.1 * b, b + 0.1 * a),
    "one much softer": lambda a, b: (a, 0.18 * b),
}
STEREO: dict[str, Pair] = {
    "in the middle": lambda a, b: (a, 0.9 * a),
    "placed left and right": lambda a, b: (a + 0.3 * b, b + 0.3 * a),
    "two microphones apart": lambda a, b: (a + 0.7 * later(b, 0.004), b + 0.7 * later(a, 0.004)),
    "far away in a room": lambda a, b: (room(a, 1) + room(b, 2), room(a, 3) + room(b, 4)),
    "on one side": lambda a, b: (a, 0 * a),
    "noise on the other": lambda a, b: (a, noise(3, 800)),
    "wide music": lambda a, b: (music(1), music(2)),
    "a voice within wide music": lambda a, b: (2 * music(1) + 0.5 * a, 2 * music(2) + 0.5 * a),
    "polarity reversed": lambda a, b: (a, -0.8 * a),
}


@pytest.mark.parametrize("name", [*TWO_TALKS, *STEREO])
def test_two_talks_are_told_from_ordinary_stereo(tmp_path: Path, name: str) -> None:
    searches: list[int] = []

    def search() -> object:
        searches.append(1)
        return region_source("vad", SileroVad(detector()).feed)

    pair = (TWO_TALKS | STEREO)[name](said(1).astype(np.float64), said(2).astype(np.float64))
    choice = TrackChoice(speech=search)  # type: ignore[arg-type]
    source = recorded(tmp_path / "a.wav", *pair)
    audio = Decoder(FFMPEG, max_seconds=60, choice=choice).decode(source, tmp_path / "spool")
    codes = [notice.code for notice in audio.warnings]
    assert codes == (["channels_differ"] if name in TWO_TALKS else ["channels_cancel"] * (name == "polarity reversed"))
    assert not searches or name not in ("in the middle", "placed left and right"), "ordinary stereo costs no search"
    plain = Decoder(FFMPEG, max_seconds=60).decode(source, tmp_path / "other")
    assert plain.samples == audio.samples and "channels_differ" not in {notice.code for notice in plain.warnings}
    assert (tmp_path / "spool").read_bytes() == (tmp_path / "other").read_bytes(), "looking changes nothing"


def test_other_numbers_of_channels_are_not_looked_at(tmp_path: Path) -> None:
    def search() -> object:
        raise AssertionError("searched")

    choice = TrackChoice(speech=search)  # type: ignore[arg-type]
    decode = partial(Decoder(FFMPEG, max_seconds=60, choice=choice).decode, spool=tmp_path / "spool")
    assert not decode(recorded(tmp_path / "mono.wav", said(1), rate=8000)).warnings
    assert not decode(recorded(tmp_path / "four.wav", said(1), said(2), said(1), said(2))).warnings
