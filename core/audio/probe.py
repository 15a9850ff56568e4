"""Whether ffmpeg can read a file, by its beginning: asked where signatures say nothing."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from core.audio.ffmpeg import FRAME_BYTES, Ffmpeg
from core.audio.ffmpeg_log import FfmpegLog
from core.audio.samples import SAMPLE_RATE
from core.system.processes import Limits, spawn, stop

TRUSTED = 25
"""ffmpeg's score for a row of frames after something else (libavformat/avformat.h: AVPROBE_SCORE_RETRY, of 100); random
bytes get up to 12."""

HEARD_SECONDS = 0.1
"""So much sound at least has to come out of the beginning."""

MOST_SECONDS = 5.0
"""No more than this of it is decoded."""

TIMEOUT = 10.0
"""Seconds of patience."""

LIMITS = Limits(memory=1024**3, cpu_seconds=10, file_bytes=0, open_files=64, nice=10)

MEDIA_TYPES = {
    "mp3": "audio/mpeg",
    "aac": "audio/aac",
    "loas": "audio/mp4a-latm",
    "ac3": "audio/ac3",
    "eac3": "audio/ac3",
    "flac": "audio/flac",
    "gsm": "audio/gsm",
    "dts": "audio/vnd.dts",
    "mpegts": "video/mp2t",
    "mpeg": "video/mpeg",
}
"""Demuxer -> media type; of others it is made from the name."""


def probe(ffmpeg: Ffmpeg, head: bytes, folder: Path | None = None) -> str | None:
    """The media type of a file that begins so, if ffmpeg finds sound in that; None if not.

    folder: for a temporary file. The calling thread must live as long as this runs (see `core.system.processes.spawn`).
    """
    log = FfmpegLog(0)
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        file.write(head)
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        process = spawn(
            ffmpeg.decode_command(MOST_SECONDS),
            limits=LIMITS,
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            quick=True,
        )
        try:
            sound, said = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            return None
        finally:
            stop(process)
    log.feed(said)
    log.feed(b"")
    if not log.tracks or log.score < TRUSTED or len(sound) < HEARD_SECONDS * SAMPLE_RATE * FRAME_BYTES:
        return None
    name = log.container.split(",")[0]
    return MEDIA_TYPES.get(name, f"audio/x-{name}")
