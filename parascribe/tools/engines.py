"""The engine libraries of this machine: which are here, which one runs, what builds have been measured at."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.audio import ffmpeg
from core.audio.decoder import Decoder, PcmSpool
from core.audio.samples import Pcm
from core.config.settings import Settings
from core.errors import ServiceError
from parascribe.run.wiring.models import open_models
from whisper import DATA, DEMO_MODEL
from whisper.library.libraries import Library, candidates
from whisper.library.selftest import choose_library
from whisper.models.store import ValidModel
from whisper.workshop.build import build_engine

SPEECH = DATA / "samples" / "english.flac"
"""Half a minute of what the demo model understands: the builds are compared on it."""


@dataclass(frozen=True, kw_only=True)
class Engines:
    """libraries: in the order of preference; chosen: the first that decodes with `model` on this CPU"""

    libraries: list[Library]
    chosen: Library
    model: ValidModel


def find(settings: Settings, *, fresh: bool = False) -> Engines:
    """Look, and try: a second of noise is decoded in a process of its own, since the answer may be a SIGILL.

    fresh: test anew, whatever earlier self-tests found. Raises EngineUnavailable when no library works.
    """
    store = open_models(settings)
    try:
        model = store.validate(settings.whisper_model)  # whether a library works depends on the quantisation
    except ServiceError:
        model = store.validate("demo")
    libraries = candidates(settings.whisper_library, settings.engine_path)
    chosen = choose_library(libraries, model.path, settings.engine_path, fresh=fresh)
    return Engines(libraries=libraries, chosen=chosen, model=model)


def last_build(settings: Settings) -> dict[str, Any] | None:
    """The record of the newest build, put to use or not: `verdict`, `kept`, `figures` and what it was made from."""
    records = []
    for path in settings.engine_path.glob("*/record.json"):
        try:
            records.append(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError):
            continue
    return max(records, key=lambda record: record.get("built_at", ""), default=None)


def build(settings: Settings, *, portable: bool, progress: Callable[[str], object]) -> dict[str, Any]:
    """Build a library for this machine and keep it if it is the faster one; returns its record."""
    return build_engine(settings.engine_path, model=DEMO_MODEL, pcm=speech(), portable=portable, progress=progress)


def speech() -> Pcm:
    """SPEECH, decoded. Raises ServiceError where no ffmpeg can be used."""
    with tempfile.TemporaryDirectory() as folder:
        spool = Path(folder) / "speech"
        audio = Decoder(ffmpeg.find(), max_seconds=60.0).decode(SPEECH, spool)
        with PcmSpool(spool) as pcm:
            return pcm.read(0, audio.samples)
