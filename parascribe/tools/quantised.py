"""A model and its quantised copy: made, measured on the same speech, compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from core.config.settings import Settings
from parascribe.run.wiring.models import open_models
from parascribe.tools.engines import speech
from whisper.library.libraries import candidates
from whisper.library.selftest import choose_library
from whisper.models.store import LOCAL
from whisper.workshop.measure import Figures, measure
from whisper.workshop.quantize import Progress, own_stem, quantize


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two models; figures: one thread, half a minute of speech."""

    name: str
    path: Path
    figures: Figures

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "path": str(self.path),
            "bytes": self.path.stat().st_size,
            "cpu_seconds": round(self.figures.cpu_seconds, 3),
            "text": self.figures.text,
        }


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """library: kind of the engine library both were measured with"""

    source: Side
    copy: Side
    library: str

    @property
    def speed_up(self) -> float:
        """Above 1: the copy is faster."""
        return self.source.figures.cpu_seconds / self.copy.figures.cpu_seconds

    @property
    def words(self) -> tuple[int, int]:
        """How many words of the sample the copy hears differently, and how many the source hears."""
        return different_words(self.source.figures.text, self.copy.figures.text), len(self.source.figures.text.split())

    def to_dict(self) -> dict[str, Any]:
        different, words = self.words
        return {
            "source": self.source.to_dict(),
            "copy": self.copy.to_dict(),
            "library": self.library,
            "speed_up": round(self.speed_up, 3),
            "words": words,
            "different_words": different,
        }


def make(
    settings: Settings,
    name: str,
    kind: str,
    *,
    progress: Progress | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> Comparison:
    """Quantise an installed model into the models folder, as `local:<name>-<kind>-own`, and measure both.

    Raises UnknownModel, ModelUnavailable, ModelInvalid, ValidationFailed, DiskFull, EngineUnavailable.
    """
    store = open_models(settings)
    source = store.validate(name)
    libraries = candidates(settings.whisper_library, settings.engine_path)
    library = choose_library(libraries, source.path, settings.engine_path)
    stem = own_stem(name, kind)
    target = store.folder / f"ggml-{stem}.bin"
    quantize(source.path, target, kind, library=library.directory, progress=progress)
    say(f"written as {target.name}; measuring both on half a minute of speech")
    library = choose_library(libraries, target, settings.engine_path)  # some run f16 and die of q8_0
    pcm = speech()
    before, after = (measure(library, path, pcm) for path in (source.path, target))
    return Comparison(
        source=Side(name=name, path=source.path, figures=before),
        copy=Side(name=LOCAL + stem, path=target, figures=after),
        library=library.kind,
    )


def different_words(one: str, other: str) -> int:
    """Words that were replaced, added or left out, letter case and punctuation included."""
    changes = SequenceMatcher(None, one.split(), other.split(), autojunk=False).get_opcodes()
    return sum(max(i2 - i1, j2 - j1) for tag, i1, i2, j1, j2 in changes if tag != "equal")
