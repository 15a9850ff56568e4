"""Which ffmpeg decodes, with which arguments, and what its complaints mean.

Uploads are untrusted and demuxers have flaws, so ffmpeg gets as little as possible: the file as its
standard input and no protocol to open another, a list of audio and video containers (no playlists,
which would name other files), no video, subtitle or data decoding, one decoder thread.
"""

from __future__ import annotations

import io
import logging
import re
import shutil
import signal
import subprocess
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import ffmpeg as arguments  # ffmpeg-python: builds the command line, runs nothing here
import imageio_ffmpeg

from core.audio.channels.apart import MOST_CHANNELS
from core.audio.ffmpeg_log import OUTPUT, FfmpegLog
from core.audio.samples import SAMPLE_BYTES, SAMPLE_RATE
from core.audio.tracks import TRACKS
from core.errors import AudioUndecodable, DecoderKilled, NoAudioStream, ServiceError
from core.system import processes

logger = logging.getLogger(__name__)

DEMUXERS = (
    "wav",
    "w64",
    "aiff",
    "caf",
    "au",
    "mp3",
    "aac",
    "flac",
    "ogg",
    "mov",
    "matroska",
    "asf",
    "amr",
    "amrnb",
    "amrwb",
    "ac3",
    "eac3",
    "avi",
    "mpegts",
    "mpeg",
    "flv",
    "wv",
    "tta",
    "dts",
    "truehd",
    "mlp",
    "mxf",
    "loas",
    "voc",
    "gsm",
    "g722",
    "adx",
)
"""Containers that are read. Never hls, dash, concat, sdp, image2, lavfi, subtitles: they open other files."""

CLOCKED = frozenset({"flac", "ogg", "mov", "matroska", "asf", "avi", "mpegts", "mpeg", "flv", "mxf"})
"""Containers that say when sound plays. In the others sound follows sound, and ffmpeg makes timestamps up: of the length
of frames by the rate of the first, or by broken headers."""

RESTARTING = frozenset({"ogg", "mpegts", "mpeg"})
"""Containers whose clock may start anew anywhere (ffmpeg's AVFMT_TS_DISCONT), so that a long jump is no gap."""

RAW = {"audio/g722": "g722"}
"""Media types without a signature -> demuxer: the file's name alone tells what they are."""

FRAME_BYTES = 2 * SAMPLE_BYTES
"""Two channels of s16le."""

AU, AU_HEAD_BYTES = "au", 24
"""Sun's format for sound begins with a magic word, where the samples begin, how many bytes they are, encoding, rate and channels: four bytes
each, the highest first."""

FEW = "aformat=channel_layouts=mono|stereo"
PAIR = f"aselect='gt(samples_n,0)',{FEW},aresample={SAMPLE_RATE},{FEW},pan=stereo|FL=FL+FC|FR=FR+FC,aformat=sample_fmts=s16"
"""More than two channels are mixed down to two; one becomes two alike (ffmpeg's own way makes it quieter by 3 dB). Some
decoders give empty frames, which `pan` cannot take."""
APART = f"aselect='gt(samples_n,0)',aresample={SAMPLE_RATE},aformat=sample_fmts=s16"
"""All channels that there are, each as it is."""

TERMINATED = 255
"""ffmpeg's exit status after a signal that it heeds (SIGTERM), without a word; some errors have it too, with one."""


@dataclass(frozen=True, kw_only=True)
class Ffmpeg:
    """One usable ffmpeg program. `version` as it calls itself, e.g. "7.1.2" or "n9.0.2-17-g2a571b6068"."""

    path: str
    version: str

    def decode_command(
        self,
        max_seconds: float,
        *,
        track: int = 0,
        container: str | None = None,
        all_sound: bool = False,
        apart: bool = False,
        told: int = 2,
    ) -> list[str]:
        """Decode the file on standard input to 16 kHz s16le, two channels, on standard output.

        What is decoded comes without the silence between; when it plays is told apart, before it (`core.audio.ffmpeg_log.FrameReader`).

        max_seconds: ffmpeg stops by itself one second later, so that the reader can tell "too long" from "just fits"
        track: index of the sound track
        container: demuxer for files that have no signature; None: found by the file's content
        told: descriptor for a line per frame
        all_sound: also what the container marks as not to be played (encoders' lead-in, what its clock has passed)
        apart: all channels of the track instead of two; as an AU file, which says how many they are (`au_head`)
        """
        source = arguments.input(
            "fd:",
            fd=0,
            threads=1,
            protocol_whitelist="fd",
            format_whitelist=",".join(DEMUXERS),
            max_streams=TRACKS,
            probesize="5M",
            analyzeduration="10M",
            copyts=None,  # ffmpeg would count from the first of what is decoded, not of what is shown
            **({"f": container} if container else {}),
            **({"flags2": "+skip_manual"} if all_sound else {}),
        )
        output = source.output(
            "pipe:1",
            map=f"0:a:{track}",
            vn=None,
            sn=None,
            dn=None,
            af=APART if apart else PAIR,
            fs=int((max_seconds + 1) * SAMPLE_RATE) * (MOST_CHANNELS * SAMPLE_BYTES if apart else FRAME_BYTES),
            f=AU if apart else OUTPUT,
            flush_packets=0,
            **({"map_metadata": -1} if apart else {}),
            **{"stats_enc_pre:a": f"pipe:{told}", "stats_enc_pre_fmt:a": "{pts} {samp}"},
        )
        prefix = [self.path, "-nostdin", "-nostats", "-hide_banner", "-v", "repeat+level+info"]
        return cast("list[str]", output.compile(cmd=prefix))


def au_head(data: bytes) -> tuple[int, int] | None:
    """Where an AU file that begins so has its samples (s16be), and how many channels; None while too little is there."""
    if len(data) < AU_HEAD_BYTES or len(data) < (start := int.from_bytes(data[4:8])):
        return None
    return start, int.from_bytes(data[20:24])


def find(setting: str | None = None) -> Ffmpeg:
    """The ffmpeg to use: the one named, else the system's if it is new enough, else the wheel's.

    New enough means that it decodes a small file by exactly the command used for uploads (`fd:` came
    with ffmpeg 6). Costs about 0.1 s. Raises ServiceError, saying why, when none can be used.
    """
    if setting:
        program = shutil.which(setting)
        if program is None:
            raise ServiceError(f"ffmpeg: there is no program {setting!r}")
        return _tried(program)
    if program := shutil.which("ffmpeg"):
        try:
            return _tried(program)
        except ServiceError as error:
            logger.info("Using the bundled ffmpeg: %s", error.message)
    try:
        return _tried(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:  # a platform without a wheel
        raise ServiceError("ffmpeg: none is installed that can be used; install ffmpeg 6 or later") from error


def _tried(program: str) -> Ffmpeg:
    path = str(Path(program).absolute())
    try:
        said = _run([path, "-version"])
        match = re.match(r"ffmpeg version (\S+)", said.stdout.decode(errors="replace"))
        if match is None:
            raise ServiceError(f"ffmpeg: {path} is not ffmpeg")
        found = Ffmpeg(path=path, version=match[1])
        with tempfile.TemporaryFile() as sample:
            sample.write(_tenth_of_a_second())
            sample.seek(0)
            done = _run(found.decode_command(1.0), stdin=sample)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServiceError(f"ffmpeg: {path} cannot be run ({type(error).__name__})") from error
    if done.returncode or len(done.stdout) != SAMPLE_RATE // 10 * FRAME_BYTES:
        log = FfmpegLog(0)
        log.feed(done.stderr)
        log.feed(b"")
        raise ServiceError(
            f"ffmpeg: {path} (version {found.version}) is too old: {first_line(log.complaints or done.stderr)}"
        )
    return found


def _run(command: list[str], stdin: int | IO[bytes] = subprocess.DEVNULL) -> subprocess.CompletedProcess[bytes]:
    env = processes.environment()
    return subprocess.run(command, stdin=stdin, capture_output=True, env=env, timeout=30, check=False)


def _tenth_of_a_second() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes(bytes(SAMPLE_RATE // 10 * 2))
    return file.getvalue()


def failure(complaints: bytes, status: int) -> ServiceError:
    """The error for a decode that ended badly.

    complaints: the beginning of ffmpeg's stderr
    status: its exit status, below 0 for a signal. SIGTERM and SIGKILL may have come from outside (the end of the
        service, a lack of memory), which says nothing about the file: DecoderKilled
    """
    if complaints.startswith(processes.CANNOT_RUN):
        return ServiceError("ffmpeg can no longer be started; was it removed?")
    if b"matches no streams" in complaints:
        return NoAudioStream()
    if b"Format not on whitelist" in complaints:
        return AudioUndecodable("The file's format is not among those that are read.")
    if status in (-signal.SIGTERM, -signal.SIGKILL) or (status == TERMINATED and not complaints):
        return DecoderKilled("The decoder was killed: from outside, or because too much CPU or memory was asked for.")
    if status < 0:
        return AudioUndecodable(f"The decoder was stopped by signal {-status}: too much CPU or memory was asked for.")
    return AudioUndecodable(f"The file's audio cannot be decoded: {first_line(complaints)}")


def first_line(complaints: bytes | bytearray) -> str:
    """The first thing ffmpeg said, without the name and address of the part that said it; never a path."""
    for line in complaints.decode(errors="replace").splitlines():
        text = re.sub(r"^(\[[^\]]*\] *)+", "", line).strip()
        if text:
            return "".join(c for c in text if c.isprintable())[:200]
    return "it gave no reason"
