"""Models of true size and cost, made from the demo model and kept in the user's cache folder.

Their text is the demo model's; their weights, arithmetic and memory are those of the real ones (whisper.workshop.inflate).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import platformdirs

from whisper import DEMO_MODEL
from whisper.library.libraries import candidates
from whisper.models.catalogue import CATALOGUE
from whisper.workshop.inflate import inflate
from whisper.workshop.quantize import quantize


def folder() -> Path:
    """Where made models are kept; a name of its own for each demo model."""
    digest = hashlib.sha256(DEMO_MODEL.read_bytes()).hexdigest()[:8]
    return platformdirs.user_cache_path("parascribe") / "benchmarks" / digest


def setting(path: Path) -> tuple[Path, str]:
    """WHISPER_MODELS_DIR and WHISPER_MODEL for a model of any kind: the demo model, an official one, one made here."""
    if path == DEMO_MODEL:
        return folder(), "demo"
    stem = path.stem.removeprefix("ggml-")
    return path.parent, stem if stem in CATALOGUE else f"local:{stem}"


def model(size: str, kind: str) -> Path:
    """`base`, `small` or `medium` as `f16`, `q8_0` or `q4_K`; made on first use (a second to half a minute)."""
    path = folder() / f"ggml-{size}-like-{kind}.bin"
    if path.is_file():
        return path
    if kind != "f16":  # appears when complete
        quantize(model(size, "f16"), path, kind, library=candidates(None, None)[0].directory)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        inflate(DEMO_MODEL, part, size)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
