"""Sound in a form that every browser plays, made by ffmpeg from samples: no file of a stranger is in its hands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, cast

import ffmpeg as arguments  # ffmpeg-python: builds the command line, runs nothing here

from core.audio.ffmpeg import Ffmpeg, first_line
from core.audio.samples import SAMPLE_RATE
from core.errors import ServiceError, Unsupported

FormName = Literal["mp3", "opus"]


@dataclass(frozen=True, kw_only=True)
class Form:
    """One form. The bit rate is constant, so that players know the length and can go anywhere."""

    media_type: str
    #: ffmpeg's names of encoder and container
    encoder: str
    container: str
    #: bits a second; of 16 kHz speech nothing more is heard above it
    bit_rate: int


FORMS: Mapping[FormName, Form] = MappingProxyType(
    {
        "mp3": Form(media_type="audio/mpeg", encoder="libmp3lame", container="mp3", bit_rate=48_000),
        "opus": Form(media_type="audio/ogg", encoder="libopus", container="opus", bit_rate=32_000),
    }
)


def encode_command(ffmpeg: Ffmpeg, name: FormName) -> list[str]:
    """Encode mono s16le of 16 kHz on standard input; the form comes on standard output, as it is made."""
    form = FORMS[name]
    source = arguments.input("pipe:0", f="s16le", ar=SAMPLE_RATE, ac=1, protocol_whitelist="pipe")
    output = source.output(
        "pipe:1",
        acodec=form.encoder,
        audio_bitrate=form.bit_rate,
        f=form.container,
        threads=1,
        map_metadata=-1,
        fflags="+bitexact",  # the same sound makes the same file
        **{"flags:a": "+bitexact"},
        **({"write_xing": 0, "id3v2_version": 0} if name == "mp3" else {"vbr": "off", "serial_offset": 0}),
    )
    return cast("list[str]", output.compile(cmd=[ffmpeg.path, "-nostdin", "-nostats", "-hide_banner", "-v", "error"]))


def encoder_failure(name: FormName, complaints: bytes, status: int) -> ServiceError:
    """The error for an encoder that ended badly; complaints: its stderr."""
    if b"Unknown encoder" in complaints:
        return Unsupported(f"The ffmpeg of this service cannot make {name}.")
    return ServiceError(f"The encoder ended with status {status}: {first_line(complaints)}")
