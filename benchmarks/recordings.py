"""Recordings of real speech for tests and benchmarks: those in packages of the Python index, and those in ../shared/real.

None of them is part of the project. The packaged ones are those of `parascribe demo`, kept in the user's cache folder.
"""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import platformdirs
from numpy.typing import NDArray

from core.audio.samples import SAMPLE_RATE
from core.errors import ServiceError
from parascribe.tools.recordings import RECORDINGS, fetch_recordings
from whisper.download.part import Patience

FETCH_SECONDS = 600.0
SHARED = Path(__file__).resolve().parents[2] / "shared/real"


class MissingRecordings(Exception):
    """Recordings that are not here and cannot be fetched; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One recording.

    name: its path within its set
    language: code of what is spoken; `en+de` for two after another; empty where nobody speaks
    text: what is said; None where nobody wrote it down
    words: (word, start, end) in seconds, where they were aligned
    origin: source and licence, to be shown
    """

    name: str
    path: Path
    language: str
    text: str | None
    words: tuple[tuple[str, float, float], ...] = ()
    origin: str = ""

    @property
    def spoken(self) -> bool:
        return bool(self.text)

    def samples(self) -> NDArray[np.int16]:
        """16 kHz mono, as ffmpeg decodes it."""
        return _decoded(self.path)


@cache
def _decoded(path: Path) -> NDArray[np.int16]:
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-i",
        str(path),
        "-ac",
        "1",
        "-ar",
        str(SAMPLE_RATE),
        "-f",
        "s16le",
        "pipe:1",
    ]
    return np.frombuffer(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout, "<i2")


_SONNET = (
    "One. From fairest creatures we desire increase, That thereby beauty's rose might never die, But as the riper should by "
    "time decease, His tender heir might bear his memory: But thou contracted to thine own bright eyes, Feed'st thy light's "
    "flame with self-substantial fuel, Making a famine where abundance lies, Thyself thy foe, to thy sweet self too cruel: "
    "Thou that art now the world's fresh ornament, And only herald to the gaudy spring, Within thine own bud buriest thy "
    "content, And tender churl mak'st waste in niggarding: Pity the world, or else this glutton be, To eat the world's due, "
    "by the grave and thee."
)
SAID = {"sonnet.mp3": ("en", _SONNET), "sprichwort.wav": ("de", "Was der Mensch sät, das wird er vielfach ernten.")}
"""Language and text of the demo's recordings: with what they hold a fresh clone can be tried."""


def packaged() -> list[Clip]:
    """The demo's recordings; 6 MB are fetched on first use. Raises MissingRecordings."""
    folder = platformdirs.user_cache_path("parascribe") / "recordings"
    try:
        paths = fetch_recordings(folder, Patience(deadline=time.monotonic() + FETCH_SECONDS))
    except ServiceError as error:
        raise MissingRecordings(f"recordings could not be fetched: {error}") from error
    return [
        Clip(
            name=path.name,
            path=path,
            language=SAID[path.name][0],
            text=SAID[path.name][1],
            origin=f"{one.source}, {one.licence}",
        )
        for path, one in zip(paths, RECORDINGS, strict=True)
    ]


def shared() -> list[Clip]:
    """The recordings in ../shared/real, by its index. Raises MissingRecordings."""
    index = SHARED / "index.json"
    if not index.is_file():
        raise MissingRecordings(f"there are no recordings in {SHARED}")
    return [
        Clip(
            name=item["file"],
            path=SHARED / item["file"],
            language=item["language"] or "",
            text="" if item["group"] == "noise" else item["text"] or None,
            words=_aligned(SHARED / item["words"]) if item["words"] else (),
            origin=f"{item['source']}, {item['licence']}",
        )
        for item in json.loads(index.read_text("utf-8"))
        if Path(item["file"]).suffix != ".rttm"
    ]


def _aligned(path: Path) -> tuple[tuple[str, float, float], ...]:
    """pocketsphinx's alignment (`pocketsphinx align`): b = begin, d = duration, t = word with its variant, `<sil>` = silence."""
    words = json.loads(path.read_text("utf-8"))["w"]
    return tuple((w["t"].split("(")[0], w["b"], w["b"] + w["d"]) for w in words if not w["t"].startswith("<"))
