"""What our programs have in common: the file on standard input is decoded, as a job's own run would, into what they want."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from api.audio.programs import Request
from core.audio.decoder import Decoder
from core.audio.decoding import Sink
from core.audio.ffmpeg import Ffmpeg
from core.audio.tracks import TrackChoice


def asked(request: str) -> Request:
    """The request as it is given to a program."""
    return Request(**json.loads(request))


def ffmpeg_of(request: Request) -> Ffmpeg:
    return Ffmpeg(path=request.ffmpeg, version=request.version)


def listen(request: Request, folder: str, sink: Sink) -> None:
    """Decode standard input. Raises what `Decoder.listen` raises. folder: for a copy of what is no local file"""
    decoder = Decoder(
        ffmpeg_of(request),
        max_seconds=request.max_seconds,
        nice=0,  # this process is nice already
        choice=TrackChoice(wanted=request.track),
        media_type=request.media_type,
    )
    decoder.listen(sys.stdin.buffer, Path(folder), sink)
