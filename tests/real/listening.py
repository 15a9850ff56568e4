"""Every case through the product: one `parascribe serve` for each official model, with the wheel's libwhisper."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import made, official, watch
from benchmarks.recordings import Clip, MissingRecordings, packaged, shared
from benchmarks.words import Errors, Timing, errors, timing
from testbed.service import Service, running
from tests.real.cases import TALK, WORDLESS, Case, spoken
from whisper.library.libraries import candidates

MODELS = ("base", "tiny.en")
WITH_SPEAKERS = f"{TALK}, with speakers"
TALKER = "tiny.en"
"""The model that had other words with speakers, before that was mended."""
LONG_ENOUGH = 3.0
"""Seconds from which on a clip's language should be recognised."""

FIGURES = Path(__file__).with_name("figures.json")


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A case's clips and the job's result in JSON."""

    case: Case
    clips: list[Clip]
    result: dict[str, Any]

    @property
    def errors(self) -> Errors:
        language = self.case.language(self.clips)
        return errors(self.case.text(self.clips), self.result["text"], language)

    @property
    def mistaken(self) -> str | None:
        """The language it was taken for, if that is none of those spoken; None for clips below LONG_ENOUGH too."""
        code = self.result["language"]["code"]
        right = code in self.case.language(self.clips).split("+") or self.result["duration"] < LONG_ENOUGH
        return None if right else str(code)

    @property
    def timing(self) -> Timing:
        found = [
            (word["word"], word["start"], word["end"])
            for segment in self.result["segments"]
            for word in segment["words"]
        ]
        return timing(self.clips[0].words, found)


def clips() -> tuple[dict[str, Clip], list[str]]:
    """All recordings that can be had, by name; and why others cannot."""
    found, missing = [], []
    for kind in (packaged, shared):
        try:
            found += kind()
        except MissingRecordings as error:
            missing.append(str(error))
    return {clip.name: clip for clip in found}, missing


def listen(model: str, folder: Path) -> dict[str, Heard]:
    """All cases whose recordings are here, by name. Raises MissingModel."""
    models, name = made.setting(official.model(model))
    here, _ = clips()
    talks = [Case(name=name, clips=(TALK,)) for name in (TALK, WITH_SPEAKERS) if model == TALKER]
    cases = [case for case in (*spoken(model), *WORDLESS, *talks) if all(clip in here for clip in case.clips)]
    chosen = {case.name: [here[clip] for clip in case.clips] for case in cases}
    sources = {case.name: _file(case, chosen[case.name], folder / str(n)) for n, case in enumerate(cases)}
    library = candidates(None, None)[0].directory
    with running(
        folder / "service",
        WHISPER_LIBRARY=str(library),
        WHISPER_MODELS_DIR=str(models),
        WHISPER_MODEL=name,
        LEASE_SECONDS="60",
    ) as service:
        aligned = [case for case in cases if any(clip.words for clip in chosen[case.name]) and len(case.clips) == 1]
        found = _heard(service, aligned, sources, {"word_timestamps": "true"})
        diarized = [case for case in cases if case.name == WITH_SPEAKERS]
        found |= _heard(service, diarized, sources, {"diarize": "true"})
        found |= _heard(service, [case for case in cases if case.name not in found], sources, {})
    return {case.name: Heard(case=case, clips=chosen[case.name], result=found[case.name]) for case in cases}


def _file(case: Case, chosen: list[Clip], folder: Path) -> Path:
    folder.mkdir()
    path = case.make(folder, chosen)
    return path if path.is_relative_to(folder) else Path(shutil.copy(path, folder))


def _heard(
    service: Service, cases: list[Case], sources: dict[str, Path], params: dict[str, str]
) -> dict[str, dict[str, Any]]:
    results = watch.results(service, [sources[case.name] for case in cases], params)
    return {case.name: result for case, result in zip(cases, results, strict=True)}


def recorded() -> dict[str, Any]:
    """By model: {"errors": per cent by case, "mistaken": wrong language by case, "start_median", "start_p95": milliseconds}."""
    return dict(json.loads(FIGURES.read_text("utf-8")))
