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
from functools import cache
from pathlib import Path
from typing import IO, cast

import ffmpeg as arguments  # ffmpeg-python: builds the command line, runs nothing here
import imageio_ffmpeg

from core import processes
from core.chunks import SAMPLE_RATE
from core.errors import AudioUndecodable, DecoderKilled, NoAudioStream, ServiceError

logger = logging.getLogger(__name__)

DEMUXERS = (
    "wav", "w64", "aiff", "caf", "au", "mp3", "aac", "flac", "ogg", "mov", "matroska", "asf",
    "amr", "amrnb", "amrwb", "ac3", "eac3", "avi", "mpegts", "mpeg", "flv",
    "wv", "tta", "dts", "truehd", "mlp", "mxf", "loas", "voc", "adx",
)  # fmt: skip
"""Containers that are read. Never hls, dash, concat, sdp, image2, lavfi, subtitles: they open other files.
Nor those that only a name's ending tells (gsm, g722, raw samples): ffmpeg sees no name."""

ALIGN = (
    "asetpts='if(eq(N,0),"
    "st(0,max(PTS,0));st(1,max(-PTS,0));print(T,16),"
    "st(3,PTS+ld(1)-ld(0));"
    "st(4,lt(abs(PTS-PREV_INPTS-ld(2)),ld(2)/2));"
    "if(gt(ld(3),0.35*SR)*(lt(ld(3),10*SR)+ld(4)),st(0,ld(0)+ld(3)));"
    "if(lt(ld(3),-SR)*ld(4),st(1,ld(1)-ld(3))));"
    "st(2,NB_SAMPLES);st(0,ld(0)+NB_SAMPLES)-NB_SAMPLES',aresample=async=1"
)
"""Keeps the original timeline: holes in the timestamps become silence (by aresample). Every sample is heard, in order:
timestamps that go back or jitter never make it trim or stretch. Without holes, files come out sample for sample.

asetpts gives each frame its place, in samples. Its variables: 0 the place after the frame before, 1 what is added to
timestamps, 2 the length of the frame before, 3 how much later than there the frame wants to play, 4 whether it follows the
frame before by its length, as frames under a running clock do.

* A hole is longer than 0.35 s: browsers send packets in bursts of 0.25 s, and Opus is silent for 0.38 s at a time (RFC 6716
  2.1.9). What is shorter adds up until it is, so no time is ever more than that too early.
* Over 10 s (ffmpeg's own dts_delta_threshold) the second frame must agree: single packets can be an hour ahead.
* A running clock that is more than 1 s behind, more than any jitter seen, is a new one: recordings were joined there.

The first frame's time is said as an error (`start_of`), not filled: where the sound's rate or layout changes, ffmpeg
starts this anew, and would fill that time again."""


TERMINATED = 255
"""ffmpeg's exit status after a signal that it heeds (SIGTERM), without a word; some errors have it too, with one."""


@dataclass(frozen=True, kw_only=True)
class Ffmpeg:
    """One usable ffmpeg program. `version` as it calls itself, e.g. "7.1.2" or "n9.0.2-17-g2a571b6068"."""

    path: str
    version: str

    def decode_command(self, max_seconds: float) -> list[str]:
        """Decode the file on standard input to 16 kHz mono s16le on standard output.

        max_seconds: ffmpeg stops by itself one second later, so that the reader can tell "too long" from "just fits"
        """
        source = arguments.input(
            "fd:",
            fd=0,
            threads=1,
            protocol_whitelist="fd",
            format_whitelist=",".join(DEMUXERS),
            max_streams=200,
            probesize="5M",
            analyzeduration="10M",
        )
        output = source.output(
            "pipe:1",
            map="0:a:0",
            vn=None,
            sn=None,
            dn=None,
            t=max_seconds + 1,
            af=ALIGN,
            ac=1,
            ar=SAMPLE_RATE,
            f="s16le",
        )
        prefix = [self.path, "-nostdin", "-hide_banner", "-v", "error"]
        return cast("list[str]", output.compile(cmd=prefix))


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
    if done.returncode or len(done.stdout) != SAMPLE_RATE // 10 * 2:
        raise ServiceError(f"ffmpeg: {path} (version {found.version}) is too old: {first_line(done.stderr)}")
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


_START = re.compile(rb"^\[Eval @ [^]]*\] (-?[\d.]+|-?nan)\n", re.MULTILINE)
_PARTS = re.compile(rb"\[([^]@]+?)(?: @ [^]]*)?\] ")


def start_of(complaints: bytes) -> float:
    """When the sound starts, seconds; 0 if ffmpeg has not said so. All it said before its first sample must be there."""
    said = _START.search(complaints)
    return max(0.0, float(said[1])) if said and said[1].strip(b"-") != b"nan" else 0.0


def real(complaints: bytes) -> bytes:
    """What ffmpeg complained of, without what ALIGN has it say."""
    return _START.sub(b"", complaints)


def damage(complaints: bytes, program: str) -> bytes:
    """Those complaints that concern the sound. ffmpeg looks into pictures and subtitles too, to know what they are."""
    lines = [line for line in real(complaints).splitlines(keepends=True) if not line.startswith(b"    Last message repeated")]
    return b"".join(line for line in lines if not any(_of_others(part, program) for part in _PARTS.findall(line)))


def _of_others(part: bytes, program: str) -> bool:
    name = part.decode(errors="replace").removeprefix("dec:")
    if name.startswith(("vist#", "sist#", "dist#", "out#", "aost#", "s16le")):
        return True
    return name not in DEMUXERS and name in _other_decoders(program)


@cache
def _other_decoders(program: str) -> frozenset[str]:
    """The decoders of pictures and subtitles, by name."""
    try:
        said = _run([program, "-hide_banner", "-decoders"]).stdout.decode(errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return frozenset()
    return frozenset(re.findall(r"^ [VSD][\w.]{5} (\w\S*)", said, re.MULTILINE))


def first_line(complaints: bytes) -> str:
    """The first thing ffmpeg said, without the name and address of the part that said it; never a path."""
    for line in complaints.decode(errors="replace").splitlines():
        text = re.sub(r"^(\[[^\]]*\] *)+", "", line).strip()
        if text:
            return "".join(c for c in text if c.isprintable())[:200]
    return "it gave no reason"
