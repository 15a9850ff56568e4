"""What kind of media a file is, by its first bytes: names and declared types are not to be trusted.

Says yes to most of what core.audio.ffmpeg.DEMUXERS reads and no to what is known to be something else; what is left is
for ffmpeg to decide (`core.audio.probe`). Whether there is sound inside is for the decoder to find out.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable
from typing import BinaryIO

from core.errors import NotMedia

#: how many bytes of a file `sniff` wants to see (or all of a shorter one)
HEAD_BYTES = 64 * 1024

Probe = Callable[[bytes], str | None]
"""The beginning of a file -> its media type, None if it is none."""

W64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
SIGNATURES = (
    (b"wvpk", "audio/x-wavpack"),
    (b"TTA1", "audio/x-tta"),
    (b"Creative Voice File\x1a", "audio/x-voc"),
    (bytes.fromhex("060e2b34020501010d0102010102"), "application/mxf"),  # SMPTE 377-1: header partition
    # DTS (ETSI TS 102 114 6.3): words of 16 or 14 bits, in either order of bytes
    (b"\x7f\xfe\x80\x01", "audio/vnd.dts"),
    (b"\xfe\x7f\x01\x80", "audio/vnd.dts"),
    (b"\x1f\xff\xe8\x00", "audio/vnd.dts"),
    (b"\xff\x1f\x00\xe8", "audio/vnd.dts"),
)
MP4_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
#: where an MP4 file says how a track is coded, and how many boxes of a file made to waste time are looked at
STSD_PATH = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
MAX_BOXES = 10_000
BRANDS = {
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"M4P ": "audio/mp4",
    b"F4A ": "audio/mp4",
    b"qt  ": "video/quicktime",
    b"3gp": "video/3gpp",
    b"3g2": "video/3gpp2",
}
#: containers of sound or picture, where only the name tells which without parsing the tracks
AUDIO_SUFFIXES = {".m4a", ".m4b", ".mka", ".weba", ".oga", ".opus", ".wma"}
#: formats without a signature
SUFFIXES = {".g722": "audio/g722"}
#: said of what is not known to be anything
UNKNOWN = "no audio or video format"
CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\n\r\f")
#: what people upload by mistake, to tell them so
NOT_MEDIA = (
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"Rar!", "an archive"),
    (b"7z\xbc\xaf", "an archive"),
    (b"\x1f\x8b", "an archive"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"#extm3u", "a playlist, not the recording itself"),
    (b"ffconcat", "a playlist, not the recording itself"),
    (b"[playlist]", "a playlist, not the recording itself"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
)


def sniff(head: bytes, filename: str | None = None, probe: Probe = lambda _: None) -> str:
    """The media type, such as "audio/mpeg".

    head: the first HEAD_BYTES of the file
    filename: tells sound from picture where one container holds either, and formats that nothing else tells
    probe: asked what a file is that is neither known nor known to be none

    Raises NotMedia, naming what the file looks like if that is known.
    """
    suffix = "." + (filename or "").lower().rpartition(".")[2]
    found = _container(head) or _stream(head)
    if found is None and (looks := _guess(head)) == UNKNOWN:
        found = probe(head) or SUFFIXES.get(suffix)
    if found is None:
        raise NotMedia(f"This looks like {looks}; upload an audio or video file.")
    return found.replace("video/", "audio/", 1) if suffix in AUDIO_SUFFIXES else found


def _container(head: bytes) -> str | None:
    """Files with a signature at a fixed place."""
    match head[:4], head[8:12]:
        case (b"RIFF" | b"RF64" | b"BW64", b"WAVE"):
            return "audio/wav"
        case (b"RIFF", b"AVI "):
            return "video/x-msvideo"
        case (b"FORM", b"AIFF" | b"AIFC"):
            return "audio/aiff"
        case (b"caff", _):
            return "audio/x-caf"
        case (b".snd", _):
            return "audio/basic"
        case (b"fLaC", _):
            return "audio/flac"
        case (b"OggS", _):
            return "video/ogg" if b"\x80theora" in head[:4096] else "audio/ogg"
        case (b"\x1aE\xdf\xa3", _):
            return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
        case (b"FLV\x01", _):
            return "video/x-flv"
        case (b"\x00\x00\x01\xba", _):
            return "video/mpeg"
    if head.startswith(W64):
        return "audio/x-w64"
    if head.startswith(ASF):
        return "video/x-ms-asf"
    if head.startswith((b"#!AMR\n", b"#!AMR-WB\n")):
        return "audio/amr"
    for signature, found in SIGNATURES:
        if head.startswith(signature):
            return found
    if head[4:8] in (
        b"\xf8\x72\x6f\xba",
        b"\xf8\x72\x6f\xbb",
    ):  # TrueHD and MLP: major sync after the access unit's size
        return "audio/vnd.dolby.mlp"
    if head[:2] == b"\x80\0" and head[2:4] and head[int.from_bytes(head[2:4]) - 2 :].startswith(b"(c)CRI"):
        return "audio/x-adx"
    size, box = int.from_bytes(head[:4]), head[4:8]
    if box == b"ftyp":
        return BRANDS.get(head[8:12]) or BRANDS.get(head[8:11]) or "video/mp4"
    if box in MP4_BOXES and (size >= 8 or size in (0, 1)):  # QuickTime before 2001 had no ftyp
        return "video/quicktime"
    return None


def _stream(head: bytes) -> str | None:
    """Formats that are a row of frames: the second frame must lie where the first one says."""
    for packet in (188, 192, 204):
        for sync in range(packet):  # recordings may start within a packet
            places = range(sync, len(head), packet)[:5]
            if len(places) >= 3 and all(head[place] == 0x47 for place in places) and not _readable(head):
                return "video/mp2t"
    rest = head.lstrip(b"\0")
    while size := _tag(rest):
        if (
            len(rest) <= size
        ):  # a picture may make the tag longer than what is seen: the sound after it is taken for mp3
            return "audio/mpeg"
        rest = rest[size:].lstrip(b"\0")
    return (None if rest is head else _container(rest)) or _frames(rest)


def _tag(data: bytes) -> int:
    """Length of an ID3v2 (id3v2.4.0-structure 3.1) or APEv2 tag (header and items; ends included), 0 if this is none."""
    if data.startswith(b"ID3") and len(data) >= 10:
        return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
    if data.startswith(b"APETAGEX") and len(data) >= 32:
        return 32 + int.from_bytes(data[12:16], "little")
    return 0


def _frames(data: bytes) -> str | None:
    for kind, length_of in FRAMES:
        length = length_of(data)
        if length and (len(data) <= length + 6 or length_of(data[length:])):
            return kind
    return None


def _mpeg_frame(data: bytes) -> int:
    """Length of an MPEG audio layer II or III frame (ISO 11172-3 2.4.2.3, ISO 13818-3), 0 if this is none."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return 0
    # version 3 = MPEG-1, 2 = MPEG-2, 0 = MPEG-2.5; layer 1 = III, 2 = II
    version, layer = data[1] >> 3 & 3, data[1] >> 1 & 3
    rate_index, frequency_index, padding = data[2] >> 4, data[2] >> 2 & 3, data[2] >> 1 & 1
    if version == 1 or layer not in (1, 2) or rate_index in (0, 15) or frequency_index == 3:
        return 0
    if version != 3:
        rates = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
    elif layer == 1:
        rates = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
    else:
        rates = (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
    frequency = (44100, 48000, 32000)[frequency_index] >> {3: 0, 2: 1, 0: 2}[version]
    samples = 576 if layer == 1 and version != 3 else 1152
    return samples // 8 * rates[rate_index - 1] * 1000 // frequency + padding


def _adts_frame(data: bytes) -> int:
    """Length of an ADTS frame of AAC (ISO 13818-7 6.2), 0 if this is none."""
    if len(data) < 7 or data[0] != 0xFF or data[1] & 0xF6 != 0xF0 or data[2] >> 2 & 15 > 12:
        return 0
    length = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
    return length if length > 7 else 0


def _ac3_frame(data: bytes) -> int:
    """Length of an AC-3 or E-AC-3 frame (ETSI TS 102 366 4.4.1.4, E.1.3.1.3), 0 if this is none."""
    if len(data) < 6 or data[:2] != b"\x0b\x77":
        return 0
    if data[5] >> 3 > 10:  # bitstream id of E-AC-3: the length itself is there
        return 2 * (((data[2] & 7) << 8 | data[3]) + 1)
    frequency_index, rate_index = data[4] >> 6, data[4] & 63
    if frequency_index == 3 or rate_index > 37:
        return 0
    rates = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
    rate = rates[rate_index // 2] * 1000
    if frequency_index == 1:  # 44.1 kHz: words do not divide evenly, odd indexes have one more
        return 2 * (rate * 96 // 44100 + rate_index % 2)
    return 2 * (rate * 96 // (48000 if frequency_index == 0 else 32000))


def _loas_frame(data: bytes) -> int:
    """Length of a LOAS frame of AAC (ISO 14496-3 1.7.2), 0 if this is none."""
    if len(data) < 3 or data[0] != 0x56 or data[1] & 0xE0 != 0xE0:
        return 0
    length = (data[1] & 0x1F) << 8 | data[2]
    return length + 3 if length else 0


#: formats that are a row of frames: media type, how long the frame is that begins here
FRAMES = (
    ("audio/mpeg", _mpeg_frame),
    ("audio/aac", _adts_frame),
    ("audio/ac3", _ac3_frame),
    ("audio/mp4a-latm", _loas_frame),
)


def _guess(head: bytes) -> str:
    if not head:
        return "an empty file"
    start = head[:512].removeprefix(b"\xef\xbb\xbf").lstrip()
    for signature, what in NOT_MEDIA:
        if start.startswith(signature) or start.lower().startswith(signature):
            return what
    return (
        "a text file" if _readable(head) else UNKNOWN
    )  # all of it: headers of radio streams are text, followed by sound


def _readable(data: bytes) -> bool:
    """No control characters, and UTF-8 or for the most part ASCII."""
    if len(data.translate(None, CONTROL)) < len(data):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)  # its last character may be cut
    except UnicodeDecodeError:
        return sum(byte < 127 for byte in data[:512]) > 0.75 * len(data[:512])
    return True


def encrypted(file: BinaryIO) -> bool:
    """Whether an MP4 or QuickTime file has an encrypted sound track (ISO 14496-12 8.12: sample entry `enca`;
    `drms` in files bought from the iTunes store). Moves the file's position.
    """
    todo = [(0, file.seek(0, os.SEEK_END), 0)]  # places left to look at: start, end, depth in STSD_PATH
    for _ in range(MAX_BOXES):
        if not todo:
            break
        start, end, depth = todo.pop()
        file.seek(start)
        header = file.read(24)
        if start + 8 > end or len(header) < 8:
            continue
        size, kind, body = int.from_bytes(header[:4]), header[4:8], start + 8
        if size == 1:
            size, body = int.from_bytes(header[8:16]), start + 16
        stop = end if size == 0 else min(end, start + size)
        if stop < body:
            continue  # not a box
        todo.append((stop, end, depth))
        if kind == STSD_PATH[depth]:
            if kind != b"stsd":
                todo.append((body, stop, depth + 1))
            elif header[20:24] in (b"enca", b"drms"):  # after version, flags, number of entries and size of the first
                return True
    return False
