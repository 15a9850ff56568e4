"""The language of a job with an engine that tells languages beside its text, as libwhisper does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.worker.kit import Kit
from whisper.download.downloader import ModelDownloader
from whisper.engine.scripted import Rule, ScriptedEngine
from whisper.engine.transcriber import WhisperTranscriber
from whisper.types import Call


class Polyglot(ScriptedEngine):
    """Hears `language`, and in the chunks of `others` what these say."""

    hears_languages = True

    def __init__(self, *, others: dict[str, dict[str, float]] | None = None, **script) -> None:
        super().__init__(**script)
        self._others = others or {}

    def transcribe(self, model, pcm, options, call=Call()):
        said = super().transcribe(model, pcm, options, call)
        return replace(said, languages=self._others.get(call.label.partition("/")[0], {self._language: 0.97}))


def kit(folder: Path, *rules: Rule, language: str = "en", others=None, **settings) -> Kit:
    made = Kit(folder, **settings)
    engine = Polyglot(language=language, rules=rules, call_log=made.call_log, others=others)
    made.parts = replace(made.parts, transcriber=WhisperTranscriber(engine, ModelDownloader(made.parts.models)))
    return made


def test_a_right_guess_costs_nothing(tmp_path, minute) -> None:
    place = kit(tmp_path)
    job = place.submit(minute)
    assert place.run() == "completed"
    assert place.job(job).language == "en"
    assert sorted(place.calls) == sorted(f"chunk {row.number + 1}" for row in place.chunks(job))


def test_usual_languages_are_tried_first(tmp_path, minute) -> None:
    place = kit(tmp_path, language="de", usual_languages=("de", "en"))
    job = place.submit(minute)
    assert place.run() == "completed"
    assert place.job(job).language == "de" and len(place.calls) == len(place.chunks(job))


@pytest.mark.parametrize("parallel", [True, False])
def test_a_wrong_guess_is_decoded_again_and_nothing_else(tmp_path, minute, parallel) -> None:
    place = kit(tmp_path, language="de", parallel=parallel)
    job = place.submit(minute)
    assert place.run() == "completed"
    result = place.result(job)
    assert result["language"] == {"code": "de", "confidence": 0.97}
    assert {s["language"] for s in result["segments"]} == {"de"} and result["warnings"] == []
    again = [call for call in set(place.calls) if place.calls.count(call) > 1]
    assert sorted(again) == (["chunk 1", "chunk 2"] if parallel else ["chunk 1"])


def test_parallel_and_sequential_say_the_same(tmp_path, minute) -> None:
    others = {
        "chunk 1": {"nl": 0.5, "de": 0.4},
        "chunk 2": {"de": 0.6, "nl": 0.3},
        "chunk 3": {"de": 0.6},
        "chunk 5": {"fr": 0.95},
    }
    results = []
    for parallel in (True, False):
        place = kit(tmp_path / str(parallel), language="de", others=others, parallel=parallel)
        job = place.submit(minute)
        assert place.run() == "completed"
        results.append({k: place.result(job)[k] for k in ("segments", "language", "warnings", "gaps")})
    assert results[0] == results[1]
    assert results[0]["language"]["code"] == "de" and {s["language"] for s in results[0]["segments"]} == {"de", "fr"}


def test_a_part_in_another_language_is_decoded_in_it_and_told(tmp_path, minute) -> None:
    place = kit(tmp_path, others={"chunk 3": {"de": 0.93, "en": 0.04}, "chunk 4": {"de": 0.6, "en": 0.3}})
    job = place.submit(minute)
    assert place.run() == "completed"
    third = place.chunks(job)[2].plan
    for segment in place.result(job)["segments"]:
        assert segment["language"] == ("de" if third["start"] <= 16_000 * segment["start"] < third["end"] else "en")
    assert [w["code"] for w in place.result(job)["warnings"]] == ["mixed_languages"]
    assert place.calls.count("chunk 3") == 2 and place.calls.count("chunk 4") == 1


def test_a_language_that_the_user_names_is_kept_and_doubted(tmp_path, minute) -> None:
    place = kit(tmp_path, language="de")
    job = place.submit(minute, language="en")
    assert place.run() == "completed"
    assert {s["language"] for s in place.result(job)["segments"]} == {"en"}
    assert [w["code"] for w in place.result(job)["warnings"]] == ["language_mismatch"]
    assert len(place.calls) == len(set(place.calls))


def test_windows_that_fail_have_no_vote(tmp_path, minute) -> None:
    place = kit(tmp_path, Rule(kind="crash", label="chunk 1/*"), language="de")
    job = place.submit(minute)
    assert place.run() == "completed"
    assert place.job(job).language == "de"
    assert [gap["reason"] for gap in place.job(job).gaps] == ["chunk_failed"]
