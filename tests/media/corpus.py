"""Odd media by name: how each is made, what is said in it and when, and what is to be said of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.media import made
from tests.media.made import CLIP, Said, said

ONE, BOTH = said(0), said(0, 1)
TAG = b"ID3\x04\x00\x00\x00\x00\x01\x48"  # an empty tag of 200 bytes
APE = (
    b"APETAGEX\xd0\x07\0\0\x40\0\0\0\x01\0\0\0\0\0\0\xa0"
    + bytes(8)
    + b"\x18\0\0\0\0\0\0\0Title\0"
    + b"a talk about all the things"
    + bytes(6)
)


@dataclass(frozen=True, kw_only=True)
class Medium:
    """kind: group in docs/reference/media.md; warnings: their codes; track: `audio_track`; tolerance: seconds."""

    kind: str
    make: Callable[[Path, str], Path]
    said: Said = ONE
    warnings: frozenset[str] = frozenset()
    track: int | str | None = None
    tolerance: float = 0.12


CORPUS: dict[str, Medium] = {}


def add(
    name: str, kind: str, make: Callable[[Path, str], Path], heard: Said = ONE, warns: str = "", **more: object
) -> None:
    assert name not in CORPUS
    CORPUS[name] = Medium(kind=kind, make=make, said=heard, warnings=frozenset(warns.split()), **more)  # type: ignore[arg-type]


# --- formats and codecs
for name, options in {
    "s16.wav": "-ar 44100",
    "stereo.wav": "-ac 2 -ar 48000",
    "u8.wav": "-c:a pcm_u8",
    "s24.wav": "-c:a pcm_s24le -ar 96000",
    "s32.wav": "-c:a pcm_s32le",
    "f32.wav": "-c:a pcm_f32le",
    "f64.wav": "-c:a pcm_f64le",
    "alaw.wav": "-c:a pcm_alaw -ar 8000",
    "mulaw.wav": "-c:a pcm_mulaw -ar 8000",
    "ima.wav": "-c:a adpcm_ima_wav",
    "ms.wav": "-c:a adpcm_ms",
    "g726.wav": "-c:a g726 -ar 8000",
    "mp3.wav": "-c:a libmp3lame",
    "rf64.wav": "-rf64 always",
    "11k.wav": "-ar 11025",
    "sony.w64": "",
    "mac.aiff": "",
    "compressed.aifc": "-c:a pcm_mulaw -f aiff -ar 8000",
    "apple.caf": "-c:a alac",
    "pcm.caf": "-c:a pcm_s16be",
    "sun.au": "-c:a pcm_s16be",
    "mulaw.au": "-c:a pcm_mulaw -ar 8000",
    "free.flac": "-ar 48000",
    "alac.m4a": "-c:a alac",
    "aac.m4a": "-c:a aac -b:a 64k",
    "book.m4b": "-c:a aac -f ipod",
    "ac3.mp4": "-c:a ac3 -ar 48000",
    "opus.mp4": "-c:a libopus",
    "mp3.mp4": "-c:a libmp3lame",
    "flac.mp4": "-c:a flac -strict -2",
    "fragments.mp4": "-c:a aac -movflags frag_keyframe+empty_moov -frag_duration 500000",
    "pcm.mov": "-c:a pcm_s16le",
    "ima.mov": "-c:a adpcm_ima_qt",
    "phone.3gp": "-c:a libopencore_amrnb -ar 8000 -b:a 12.2k",
    "aac.3g2": "-c:a aac",
    "lame.mp3": "-b:a 64k",
    "vbr.mp3": "-q:a 4 -ar 44100 -ac 2",
    "bare.mp3": "-b:a 32k -write_xing 0 -id3v2_version 0",
    "low.mp3": "-ar 8000 -b:a 16k",
    "radio.mp2": "-f mp2 -ar 48000",
    "adts.aac": "-c:a aac -ar 44100",
    "latm.loas": "-c:a aac -f latm",
    "vorbis.ogg": "-c:a libvorbis",
    "voice.opus": "-c:a libopus -b:a 24k",
    "flac.oga": "-c:a flac",
    "speech.ogg": "-c:a libopus -application voip -frame_duration 60",
    "recorder.amr": "-c:a libopencore_amrnb -ar 8000 -b:a 12.2k",
    "windows.wma": "-c:a wmav2 -b:a 64k -ar 44100",
    "old.wma": "-c:a wmav1 -b:a 64k -ar 44100",
    "dolby.ac3": "-c:a ac3 -ar 48000",
    "dolby.eac3": "-c:a eac3 -ar 48000",
    "opus.webm": "-c:a libopus",
    "vorbis.webm": "-c:a libvorbis",
    "aac.mka": "-c:a aac",
    "mp3.mka": "-c:a libmp3lame",
    "pcm.mka": "-c:a pcm_s16le",
    "wavpack.mka": "-c:a wavpack",
    "mp3.flv": "-c:a libmp3lame -ar 44100",
    "aac.flv": "-c:a aac",
    "pcm.avi": "-c:a pcm_s16le",
    "mp3.avi": "-c:a libmp3lame",
    "aac.ts": "-c:a aac",
    "mp2.ts": "-c:a mp2 -ar 48000",
    "opus.ts": "-c:a libopus",
    "blu-ray.m2ts": "-c:a ac3 -ar 48000 -mpegts_m2ts_mode 1 -f mpegts",
    "mp2.mpg": "-c:a mp2 -ar 48000",
    "dvd.vob": "-c:a ac3 -ar 48000",
    "pack.wv": "",
    "true.tta": "",
    "theatre.dts": "-c:a dca -strict -2 -ar 48000 -ac 2",
    "cinema.thd": "-c:a truehd -strict -2 -ar 48000 -ac 2 -f truehd",
    "lossless.mlp": "-c:a mlp -strict -2 -ar 48000 -ac 2 -f mlp",
    "broadcast.mxf": "",
    "blaster.voc": "-c:a pcm_u8 -ar 16000",
    "conference.g722": "-c:a g722 -f g722",
    "game.adx": "-c:a adpcm_adx",
}.items():
    if name != "broadcast.mxf":
        add(name, "formats", lambda folder, name, options=options: made.encoded(folder, name, options))  # type: ignore[misc]
add(
    "broadcast.mxf",
    "formats",
    lambda folder, name: made.film(folder, name, "-c:v mpeg2video -r 25 -c:a pcm_s16le -ar 48000"),
)

# --- sound that starts after the picture
FILMS = {
    "mp4": "-c:a aac -c:v mpeg4",
    "mov": "-c:a pcm_s16le -c:v mpeg4",
    "mkv": "-c:a libopus -c:v mpeg4",
    "webm": "-c:a libopus -c:v libvpx -deadline realtime",
    "flv": "-c:a libmp3lame -ar 44100 -c:v flv",
    "ts": "-c:a aac -c:v mpeg2video -r 25",
    "m2ts": "-c:a ac3 -ar 48000 -c:v mpeg2video -r 25 -f mpegts -mpegts_m2ts_mode 1",
    "mpg": "-c:a mp2 -ar 48000 -c:v mpeg2video -r 25",
    "vob": "-c:a ac3 -ar 48000 -c:v mpeg2video -r 25",
    "wmv": "-c:a wmav2 -c:v wmv2",
    "3gp": "-c:a aac -c:v mpeg4",
}
for suffix, options in FILMS.items():
    for late in (0.0, 1.5):
        add(
            f"late{late:g}.{suffix}",
            "sound after the picture",
            lambda folder, name, options=options, late=late: made.film(folder, name, options, late=late),
            said(0, at=(late,)),
        )  # type: ignore[misc]

# --- holes in the timestamps
for name, options in {
    "gap.mka": "-c:a aac",
    "gap.mkv": "-c:a libopus",
    "gap.webm": "-c:a libvorbis",
    "gap.mp4": "-c:a aac",
    "gap.mov": "-c:a aac",
    "gap.flv": "-c:a libmp3lame -ar 44100",
    "gap.ts": "-c:a aac",
    "gap.wma": "-c:a wmav2 -ar 44100",
    "gap.m2ts": "-c:a ac3 -ar 48000 -f mpegts -mpegts_m2ts_mode 1",
}.items():
    add(
        name,
        "gaps",
        lambda folder, name, options=options: made.with_gap(folder, name, options),
        said(0, 1, at=(0.0, CLIP + 2)),
        tolerance=0.2,
    )  # type: ignore[misc]

# --- recordings joined end to end
for name, (first, second) in {
    "joined.webm": ("-c:a libopus", None),
    "joined.mka": ("-c:a libvorbis", None),
    "joined.mkv": ("-c:a aac", None),
    "joined.ogg": ("-c:a libopus", None),
    "joined-flac.oga": ("-c:a flac", None),
    "joined.flac": ("", None),
    "joined.ts": ("-c:a aac", None),
    "joined.mpg": ("-c:a mp2 -ar 48000", None),
    "joined.mp4": ("-c:a aac -movflags frag_keyframe+empty_moov+default_base_moof -frag_duration 500000", None),
    "joined.mp3": ("-ar 44100 -write_xing 0", None),
    "rates.mp3": ("-ar 44100 -b:a 64k", "-ar 22050 -b:a 32k"),
    "rates-up.mp3": ("-ar 22050 -b:a 32k", "-ar 44100 -ac 2"),
    "joined.aac": ("-c:a aac", None),
    "rates.aac": ("-c:a aac", "-c:a aac -ar 44100 -ac 2"),
    "joined.ac3": ("-c:a ac3 -ar 48000", None),
}.items():
    # a tag in the middle is something that cannot be decoded
    warns = "audio_damaged" if name.endswith(".mp3") else ""
    add(
        name,
        "joined",
        lambda folder, name, first=first, second=second: made.joined(folder, name, first, second),
        BOTH,
        warns,
        tolerance=0.3,
    )  # type: ignore[misc]

# --- timestamps that are not even
CLOCKS: dict[str, Callable[[int, int], int]] = {
    "bursts-250": lambda n, ms: ms // 250 * 250,
    "bursts-500": lambda n, ms: ms // 500 * 500,
    "all-zero": lambda n, ms: 0,
    "jitter": lambda n, ms: max(0, ms + random.Random(n).randrange(-150, 150)),
    "late-packets": lambda n, ms: ms + 300 * (n % 40 > 35),
    "ahead": lambda n, ms: ms + (25_000 if n == 20 else 0),
    "behind": lambda n, ms: 0 if n in (60, 90) else ms,
}
for clock in CLOCKS:
    for suffix, options in {"webm": "-c:a libopus", "mka": "-c:a aac", "flv": "-c:a libmp3lame -ar 44100"}.items():
        add(
            f"{clock}.{suffix}",
            "uneven timestamps",
            lambda folder, name, options=options, clock=clock: made.restamped(folder, name, options, CLOCKS[clock]),
            BOTH,
            tolerance=0.3,
        )  # type: ignore[misc]
add(
    "hour-ahead.flv",
    "uneven timestamps",
    lambda folder, name: made.restamped(
        folder, name, "-c:a aac", lambda n, ms: ms + (3_600_000 if n in (20, 50) else 0)
    ),
    BOTH,
    tolerance=0.3,
)
add(
    "restart.flv",
    "uneven timestamps",
    lambda folder, name: made.restamped(folder, name, "-c:a libmp3lame -ar 44100", lambda n, ms: ms % 2500),
    BOTH,
    tolerance=0.3,
)

# --- tracks
for name, count in {"subtitles17.mkv": 17, "subtitles60.mkv": 60}.items():
    add(name, "many tracks", lambda folder, name, count=count: made.tracks(folder, name, 0, subtitles=count))  # type: ignore[misc]
add(
    "subtitles20.mp4",
    "many tracks",
    lambda folder, name: made.tracks(folder, name, 0, subtitles=20, options="-c:s mov_text -c:a aac"),
)
add("fonts30.mkv", "many tracks", lambda folder, name: made.tracks(folder, name, 0, fonts=30))
add(
    "camera16.mov",
    "many tracks",
    lambda folder, name: made.tracks(folder, name, 0, *[None] * 15, options="-c:a pcm_s16le"),
    warns="other_audio_tracks",
)
add(
    "camera24-last.mkv",
    "many tracks",
    lambda folder, name: made.tracks(folder, name, *[None] * 14, 0, options="-c:a flac"),
    warns="other_audio_tracks",
)
for suffix, options in {
    "mka": "-c:a flac",
    "mp4": "-c:a aac",
    "ts": "-c:a aac",
    "mov": "-c:a pcm_s16le",
    "avi": "-c:a pcm_s16le",
    "wma": "-c:a wmav2 -ar 44100",
}.items():
    add(
        f"first-silent.{suffix}",
        "several sound tracks",
        lambda folder, name, options=options: made.tracks(folder, name, None, 0, options=options),
        warns="other_audio_tracks",
    )  # type: ignore[misc]
add(
    "second-default.mka",
    "several sound tracks",
    lambda folder, name: made.tracks(
        folder, name, 1, 0, options="-c:a flac -disposition:a:0 0 -disposition:a:1 default"
    ),
    warns="other_audio_tracks",
)
add(
    "second-default.mp4",
    "several sound tracks",
    lambda folder, name: made.tracks(
        folder, name, 1, 0, options="-c:a aac -disposition:a:0 0 -disposition:a:1 default"
    ),
    warns="other_audio_tracks",
)
add(
    "default-silent.mka",
    "several sound tracks",
    lambda folder, name: made.tracks(
        folder, name, 0, None, options="-c:a flac -disposition:a:0 0 -disposition:a:1 default"
    ),
    warns="other_audio_tracks",
)
add(
    "by-number.mka",
    "several sound tracks",
    lambda folder, name: made.tracks(folder, name, 1, 2, 0),
    warns="other_audio_tracks",
    track=2,
)
add(
    "by-language.mkv",
    "several sound tracks",
    lambda folder, name: made.tracks(
        folder, name, 1, 0, options="-metadata:s:a:0 language=eng -metadata:s:a:1 language=de"
    ),
    warns="other_audio_tracks",
    track="de",
)
add(
    "by-language.mp4",
    "several sound tracks",
    lambda folder, name: made.tracks(
        folder, name, 1, 0, options="-c:a aac -metadata:s:a:0 language=eng -metadata:s:a:1 language=gle"
    ),
    warns="other_audio_tracks",
    track="gle",
)

# --- channels
INVERTED = "pan=stereo|c0=c0|c1=-1*c0"
for name, options in {
    "inverted.mp3": "-b:a 96k",
    "inverted.m4a": "-c:a aac",
    "inverted.wav": "",
    "inverted.flac": "-ar 44100",
    "inverted.opus": "-c:a libopus -b:a 96k",
    "inverted.wma": "-c:a wmav2 -ar 44100",
}.items():
    add(
        name,
        "channels",
        lambda folder, name, options=options: made.layout(folder, name, INVERTED, options),
        warns="channels_cancel",
    )  # type: ignore[misc]
add(
    "inverted-unequal.wav",
    "channels",
    lambda folder, name: made.layout(folder, name, "pan=stereo|c0=0.8*c0|c1=-1*c0"),
    warns="channels_cancel",
)
add("left.wav", "channels", lambda folder, name: made.layout(folder, name, "pan=stereo|c0=c0"))
add("right.mp3", "channels", lambda folder, name: made.layout(folder, name, "pan=stereo|c1=c0"))
for name, graph in {
    "centre51.wav": "pan=5.1|FC=c0",
    "front51.flac": "pan=5.1|FL=c0|FR=c0",
    "rear71.wav": "pan=7.1|BL=c0",
    "quad.wav": "pan=quad|FL=c0",
    "three.wav": "pan=3.0|FC=c0",
}.items():
    add(name, "channels", lambda folder, name, graph=graph: made.layout(folder, name, graph))  # type: ignore[misc]
add("centre51.ac3", "channels", lambda folder, name: made.layout(folder, name, "pan=5.1|FC=c0", "-ar 48000"))

# --- files that do not start where they should
for name, (options, start) in {
    "cut.mp3": ("-b:a 64k", 700),
    "cut.aac": ("-c:a aac", 500),
    "cut.ac3": ("-c:a ac3 -ar 48000", 700),
    "cut.ts": ("-c:a aac", 0),
    "cut.mpg": ("-c:a mp2 -ar 48000", 0),
    "cut.loas": ("-c:a aac -f latm", 100),
}.items():
    warns = "audio_damaged" if name in ("cut.ac3", "cut.loas") else ""
    add(
        name,
        "starts in the middle",
        lambda folder, name, options=options, start=start: made.cut(folder, name, options, start),
        warns=warns,
        tolerance=0.25,
    )  # type: ignore[misc]
for name, before in {
    "two-tags.mp3": TAG + bytes(200) + TAG + bytes(200),
    "ape-first.mp3": APE,
    "junk.mp3": bytes(range(250, 0, -1)) * 4,
    "zeros.mp3": bytes(5000),
    "icy.mp3": b"ICY 200 OK\r\nicy-name: radio\r\n\r\n\0",
}.items():
    add(
        name,
        "starts in the middle",
        lambda folder, name, before=before: made.cut(folder, name, "-b:a 64k -id3v2_version 0", 0, before=before),
    )  # type: ignore[misc]

# --- a constant offset
for name, (graph, options) in {
    "offset.wav": ("dcshift=0.004", "-ar 16000"),
    "offset-large.wav": ("dcshift=-0.1", "-ar 16000"),
    "offset8.wav": ("dcshift=0.004", "-c:a pcm_u8"),
    "offset.flac": ("dcshift=0.02", ""),
    "offset.m4a": ("dcshift=0.05", "-c:a alac"),
    "offset-stereo.wav": ("pan=stereo|c0=c0|c1=c0,dcshift=0.03", ""),
}.items():
    add(name, "offset", lambda folder, name, graph=graph, options=options: made.layout(folder, name, graph, options))  # type: ignore[misc]

# --- covers
for name, (lie, options) in {
    "cover.mp3": (False, "-c:a libmp3lame"),
    "cover.m4a": (False, "-c:a aac"),
    "cover.flac": (False, ""),
    "cover-lies.mp3": (True, "-c:a libmp3lame"),
    "cover-lies.flac": (True, ""),
}.items():
    add(name, "covers", lambda folder, name, lie=lie, options=options: made.with_cover(folder, name, options, lie=lie))  # type: ignore[misc]

# --- damage
for name, (options, tail, noise, told) in {
    "short.wav": ("", 0.05, 0, False),
    "short.flac": ("", 0.02, 0, True),
    "short.mp3": ("", 0.05, 0, False),
    "short.mkv": ("-c:a aac", 0.05, 0, True),
    "short.webm": ("-c:a libopus", 0.05, 0, True),
    "short.ts": ("-c:a aac", 0.05, 0, True),
    "short.m4a": ("-c:a aac -movflags +faststart", 0.03, 0, True),
    "short.aac": ("-c:a aac", 0.05, 0, True),
    "short.avi": ("-c:a pcm_s16le", 0.05, 0, False),
    "hurt.mp3": ("", 0.0, 300, True),
    "hurt.flac": ("", 0.0, 100, True),
    "hurt.aac": ("-c:a aac", 0.0, 300, True),
    "hurt.ac3": ("-c:a ac3 -ar 48000", 0.0, 900, True),
}.items():
    add(
        name,
        "damage",
        lambda folder, name, options=options, tail=tail, noise=noise: made.harmed(
            folder, name, options, tail=tail, noise=noise
        ),
        BOTH,
        "audio_damaged" * told,
        tolerance=0.25,
    )  # type: ignore[misc]
