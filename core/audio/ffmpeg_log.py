"""What ffmpeg says while it decodes: the file's tracks, complaints, and when each frame plays."""

from __future__ import annotations

import re

from core.audio.tracks import AudioTrack
from core.system.processes import CANNOT_RUN

LINE_BYTES = 16 * 1024
"""Longer lines are cut: a file's own texts are among them."""

COMPLAINT_BYTES = 16 * 1024
"""How much of the complaints is kept; a damaged file can make ffmpeg write without end."""

_INPUT = re.compile(rb"\[info\] Input #0, (\S+), from ")
_START = re.compile(rb"\[info\]   Duration: .*?, start: (-?\d+\.\d+)")
_STREAM = re.compile(rb"\[info\]\s+Stream #0:(\d+)(?:\[0x[0-9a-f]+\])?(?:\((\w[\w-]*)\))?: (\w+): (.*)")
_FRAME = re.compile(rb"(-?\d{1,18}) (\d{1,9})\n")
_SCORE = re.compile(rb"\[.*\[warning\] Format \S+ detected only with low score of (\d+)")
_ERROR = re.compile(rb"((?:\[[^]]*\] )*?)\[(?:error|fatal|panic)\] ")
_LAYOUT = re.compile(rb" Hz, ([^,]+)")
_OF_STREAM = re.compile(rb"\bstream (?:#0:)?(\d+)")
OUTPUT = "s16le"
"""The format that is written: it complains, where timestamps go back, of what nobody needs."""


class FrameReader:
    """Reads the lines `timestamp samples`, one per frame, that `Ffmpeg.decode_command` has ffmpeg write (`-stats_enc_pre`)."""

    def __init__(self) -> None:
        self._lines = bytearray()

    def feed(self, data: bytes) -> None:
        """The next bytes, in pieces of any size."""
        self._lines += data

    def take(self) -> list[tuple[int, int]]:
        """The frames told of since the last call: when they play and how long, in samples of 16 kHz."""
        end = self._lines.rfind(b"\n") + 1
        found = _FRAME.findall(self._lines, 0, end)
        del self._lines[:end]
        return [(int(pts), int(samples)) for pts, samples in found]


class FfmpegLog:
    """Reads the messages of a decode made by `Ffmpeg.decode_command`, in pieces of any size.

    track: index of the sound track that is decoded; output: the format that is written
    """

    def __init__(self, track: int, output: str = OUTPUT) -> None:
        #: the demuxer's name, such as "mov,mp4,m4a,3gp,3g2,mj2"; "" until it is known
        self.container = ""
        #: when the first thing that the file shows starts on its clock, seconds; None if it does not say
        self.start: float | None = None
        #: the sound tracks; complete once `opened`
        self.tracks: list[AudioTrack] = []
        self.opened = False
        #: ffmpeg's trust in the container it found, of 100; it says so up to 25
        self.score = 100
        #: all errors, one a line
        self.complaints = bytearray()
        self._track, self._output = track, output.encode()
        self._suspects: list[tuple[bytes, bytes]] = []  # who complained, and the line
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """The next bytes; b"" = there are no more."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if not data:
            lines.append(self._rest)
        self._rest = self._rest[:LINE_BYTES]
        for line in lines:
            self._read(line)

    @property
    def layout(self) -> str:
        """Of the channels of the track that is decoded; "" until it is known."""
        return next((track.layout for track in self.tracks if track.index == self._track), "")

    def damage(self) -> bytes:
        """The errors that concern the sound that was decoded."""
        streams = {track.stream for track in self.tracks if track.index == self._track}
        return b"\n".join(
            line
            for who, line in self._suspects
            if (not who or who.decode(errors="replace") == self.container)
            and not ((named := _OF_STREAM.search(line)) and int(named[1]) not in streams)
        )

    def _read(self, line: bytes) -> None:
        if line.startswith(b"[info] Stream mapping:"):
            self.opened = True
        elif error := _ERROR.match(line):
            self._error(error[1][1:].split(b" @ ")[0], line)
        elif line.startswith(CANNOT_RUN):
            self._error(b"", line)  # not ffmpeg's words
        elif not self.opened:
            if found := _SCORE.match(line):
                self.score = int(found[1])
            elif found := _INPUT.match(line):
                self.container = found[1].decode(errors="replace").rstrip(",")
            elif found := _START.match(line):
                self.start = float(found[1])
            elif (found := _STREAM.match(line)) and found[3] == b"Audio":
                language = found[2].decode() if found[2] and found[2] != b"und" else None
                self.tracks.append(
                    AudioTrack(
                        index=len(self.tracks),
                        stream=int(found[1]),
                        language=language,
                        default=b"(default)" in found[4],
                        layout=layout[1].decode(errors="replace") if (layout := _LAYOUT.search(found[4])) else "",
                    )
                )

    def _error(self, who: bytes, line: bytes) -> None:
        if who.startswith(self._output):
            return
        room = COMPLAINT_BYTES - len(self.complaints)
        self.complaints += (line + b"\n")[:room]
        # Before the tracks are mapped, decoders are only tried out, those of pictures too; then there is but the sound's.
        mine = self.opened or who.startswith(b"in#")
        if room > 0:
            self._suspects.append((b"" if mine else who, line))
