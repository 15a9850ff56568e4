"""Every case through the product: one `parascribe serve` for each official model, with the wheel's libwhisper."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import made, official
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


class Listening(Mapping[str, Heard]):
    """What a model has heard, by the name of the case: whoever asks waits for that one alone."""

    def __init__(self, service: Service, chosen: dict[Case, list[Clip]], folder: Path) -> None:
        self._service = service
        self._cases = {case.name: case for case in chosen}
        self._clips = {case.name: clips for case, clips in chosen.items()}
        self._jobs = {
            case.name: service.submit(_file(case, clips, folder / str(n)), **_params(case, clips))["id"]
            for n, (case, clips) in enumerate(chosen.items())
        }
        self._heard: dict[str, Heard] = {}

    def __getitem__(self, name: str) -> Heard:
        if name not in self._heard:
            body = self._service.wait(self._jobs[name], seconds=600)
            assert body["status"] == "completed", f"{name}: {body['error']}"
            result = self._service.result(self._jobs[name]).json()
            self._heard[name] = Heard(case=self._cases[name], clips=self._clips[name], result=result)
        return self._heard[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._jobs)

    def __len__(self) -> int:
        return len(self._jobs)


@contextmanager
def listening(model: str, folder: Path) -> Iterator[Listening]:
    """All cases whose recordings are here are on their way, in the order of the tests. Raises MissingModel."""
    models, name = made.setting(official.model(model))
    here, _ = clips()
    talks = [Case(name=name, clips=(TALK,)) for name in (TALK, WITH_SPEAKERS) if model == TALKER]
    cases = [case for case in (*spoken(model), *WORDLESS, *talks) if all(clip in here for clip in case.clips)]
    with running(
        folder / "service",
        WHISPER_LIBRARY=str(candidates(None, None)[0].directory),
        WHISPER_MODELS_DIR=str(models),
        WHISPER_MODEL=name,
        LEASE_SECONDS="60",
    ) as service:
        yield Listening(service, {case: [here[clip] for clip in case.clips] for case in cases}, folder)


def _params(case: Case, chosen: list[Clip]) -> dict[str, bool]:
    if case.name == WITH_SPEAKERS:
        return {"diarize": True}
    return {"word_timestamps": True} if len(chosen) == 1 and chosen[0].words else {}


def _file(case: Case, chosen: list[Clip], folder: Path) -> Path:
    folder.mkdir()
    path = case.make(folder, chosen)
    return path if path.is_relative_to(folder) else Path(shutil.copy(path, folder))


def recorded() -> dict[str, Any]:
    """By model: {"errors": per cent by case, "mistaken": wrong language by case, "start_median", "start_p95": milliseconds}."""
    return dict(json.loads(FIGURES.read_text("utf-8")))
