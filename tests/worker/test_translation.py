"""Segments in another language: beside the text, in batches that are never done twice, and at no transcript's cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import TranslationFailed
from core.jobs.job import Job, Phase
from core.transcript.speakers.translations import shared_out
from core.transcript.values import Segment
from tests.worker.kit import Kit, soon, talk
from whisper.engine.scripted import ScriptedEngine
from whisper.engine.transcriber import WhisperTranscriber
from whisper.translation.router import SPOKEN, Translators
from whisper.translation.scripted import ScriptedTranslator, scripted
from whisper.types import Call, ChunkTranscript, TranscribeOptions
from worker.context.stage import SEGMENTS_AT_ONCE
from worker.stages.words.phrases import beside
from worker.stages.words.translation import TRANSLATION
from worker.stop import Stop


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return talk(tmp_path_factory.mktemp("short"), minutes=0.3)


def kit(folder: Path, *order: Any, **more: Any) -> Kit:
    made = Kit(folder, **more)
    made.parts = replace(made.parts, translators=Translators(order))
    return made


def segments(made: Kit, job: Job) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = made.result(job)["segments"]
    return found


def failed(made: Kit, job: Job) -> list[str]:
    return [one["message"] for one in made.result(job)["warnings"] if one["code"] == "translation_failed"]


def test_each_segment_has_its_translation(tmp_path: Path, short: bytes) -> None:
    translator = ScriptedTranslator()
    made = kit(tmp_path, translator)
    job = made.submit(short, translate_to="de")
    assert made.run() == "completed"
    found = segments(made, job)
    assert found and all(one["translation"] == scripted(one["text"], "de") for one in found)
    assert made.result(job)["translation"] == {"language": "de", "provider": "scripted"}
    asked = [text for batch in translator.asked for text in batch]
    assert len(asked) == len(set(asked)), "nothing is asked for twice"
    tasks = made.store.tasks(job.id, TRANSLATION)
    assert len(tasks) == -(-len(found) // SEGMENTS_AT_ONCE)
    assert not failed(made, job)


def test_users_see_that_it_is_being_translated_once_the_words_are_there(tmp_path: Path, short: bytes) -> None:
    seen: list[Job] = []

    def look(_: object) -> None:
        deadline = time.monotonic() + 10
        while (now := made.job(job)).stage is not Phase.TRANSLATING and time.monotonic() < deadline:
            time.sleep(0.01)
        seen.append(now)

    made = kit(tmp_path, ScriptedTranslator(act=look))
    job = made.submit(short, translate_to="de")
    assert made.run() == "completed"
    assert {one.stage for one in seen} == {Phase.TRANSLATING}
    assert [(one.percent, one.chunks_done) for one in seen] == [(99.0, one.chunks_total) for one in seen]


def test_without_the_option_nothing_is_translated(tmp_path: Path, short: bytes) -> None:
    translator = ScriptedTranslator()
    made = kit(tmp_path, translator)
    job = made.submit(short)
    assert made.run() == "completed" and not translator.asked and made.result(job)["translation"] is None


def test_what_is_said_in_that_language_already_is_left_alone(tmp_path: Path, short: bytes) -> None:
    translator = ScriptedTranslator()
    made = kit(tmp_path, translator)
    job = made.submit(short, translate_to="en")
    assert made.run() == "completed" and not translator.asked
    assert {one["translation"] for one in segments(made, job)} == {None} and not failed(made, job)


def test_the_words_are_those_of_a_job_without(tmp_path: Path, short: bytes) -> None:
    made = kit(tmp_path, ScriptedTranslator())
    with_, without = made.submit(short, translate_to="de"), made.submit(short)
    assert (made.run(), made.run()) == ("completed", "completed")
    assert [one | {"translation": None} for one in segments(made, with_)] == segments(made, without)
    assert made.job(with_).plan_hash == made.job(without).plan_hash


def test_a_text_that_cannot_be_translated_costs_no_other(tmp_path: Path, short: bytes) -> None:
    poison: list[str] = []

    def act(texts: list[str]) -> None:
        poison[:] = poison or [texts[len(texts) // 2]]
        if poison[0] in texts:
            raise TranslationFailed("No.")

    made = kit(tmp_path, ScriptedTranslator(act=act))
    job = made.submit(short, translate_to="de")
    assert made.run() == "completed"
    found = segments(made, job)
    missing = [one for one in found if one["translation"] is None]
    assert {one["text"] for one in missing} == {poison[0]}
    assert failed(made, job) == [f"{len(missing)} of {len(found)} segments have no translation. No."]


@pytest.mark.parametrize("error", [TranslationFailed("It is away.", away=True), ValueError("a defect")])
def test_a_translator_that_is_away_costs_no_transcript(tmp_path: Path, short: bytes, error: Exception) -> None:
    def act(texts: list[str]) -> None:
        raise error

    translator = ScriptedTranslator(act=act)
    made = kit(tmp_path, translator)
    job = made.submit(short, translate_to="de")
    assert made.run() == "completed"
    found = segments(made, job)
    assert found and not any(one["translation"] for one in found)
    (message,) = failed(made, job)
    assert message.startswith(f"{len(found)} of {len(found)} segments have no translation.")
    assert len(translator.asked) == len(made.store.tasks(job.id, TRANSLATION))


def test_nobody_who_could_is_said(tmp_path: Path, short: bytes) -> None:
    made = kit(tmp_path, ScriptedTranslator({("de", "fr")}))
    job = made.submit(short, translate_to="fr")
    assert made.run() == "completed"
    assert "Nothing here translates from en to fr." in failed(made, job)[0]


def test_finished_batches_are_not_done_again(tmp_path: Path) -> None:
    """A shutdown once the first of them is done; who goes on begins with the second."""
    made = kit(tmp_path, chunk_seconds=5.0)
    first = ScriptedTranslator()
    made.parts = replace(made.parts, translators=Translators([first]))
    job = made.submit(talk(tmp_path, minutes=2.5), translate_to="de")

    def stop() -> None:
        soon(lambda: any(task.ended for task in made.store.tasks(job.id, TRANSLATION)))
        made.stop.set()

    made.script(delay=0.05)  # so that there is something left to hear
    thread = threading.Thread(target=stop)
    thread.start()
    assert made.run() == "handed back"
    thread.join()
    assert [len(batch) for batch in first.asked] == [SEGMENTS_AT_ONCE]
    again = ScriptedTranslator()
    made.stop = Stop()
    made.parts = replace(made.parts, translators=Translators([again]))
    assert made.run() == "completed"
    assert again.asked and not {*first.asked[0]} & {text for batch in again.asked for text in batch}
    assert again.before[0] == [one["text"] for one in segments(made, job)][SEGMENTS_AT_ONCE - 3 : SEGMENTS_AT_ONCE]
    assert all(one["translation"] for one in segments(made, job))


def test_a_cancel_is_heard_within_a_second(tmp_path: Path, short: bytes) -> None:
    begun = threading.Event()
    made = kit(tmp_path)

    class Slow(ScriptedTranslator):
        def translate(self, texts: Any, **more: Any) -> list[str]:
            begun.set()
            until = time.monotonic() + 20
            while time.monotonic() < until and not more["cancel"].is_set():
                time.sleep(0.01)
            return super().translate(texts, **more)

    made.parts = replace(made.parts, translators=Translators([Slow()]))
    job = made.submit(short, translate_to="de")
    told: list[float] = []

    def cancel() -> None:
        begun.wait(30)
        made.cancel(job)
        told.append(time.monotonic())

    thread = threading.Thread(target=cancel)
    thread.start()
    assert made.run() == "cancelled"
    thread.join()
    assert time.monotonic() - told[0] < 1.5


class Bilingual(ScriptedEngine):
    """Says everything in capitals when it is to translate. The others are made as ever."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.translated = 0

    def transcribe(self, model: str, pcm: Any, options: TranscribeOptions, call: Call = Call()) -> ChunkTranscript:
        said = super().transcribe(model, pcm, replace(options, task="transcribe"), call)
        if options.task != "translate":
            return said
        self.translated += 1
        assert options.language == "de" and options.prompt is None
        return replace(said, segments=tuple(map(_louder, said.segments)))


def _louder(one: Segment) -> Segment:
    words = tuple(replace(word, word=word.word.upper()) for word in one.words)
    return replace(one, text=one.text.upper(), words=words)


@pytest.fixture
def bilingual(tmp_path: Path) -> Iterator[tuple[Kit, Bilingual]]:
    made = kit(tmp_path, SPOKEN, language="de")
    engine = Bilingual(language="de", call_log=made.call_log)
    made.parts = replace(made.parts, transcriber=WhisperTranscriber(engine, made.parts.transcriber.downloader))
    yield made, engine


def test_whisper_translates_by_ear(bilingual: tuple[Kit, Bilingual], short: bytes) -> None:
    made, engine = bilingual
    job = made.submit(short, language="de", translate_to="en")
    assert made.run() == "completed"
    found = segments(made, job)
    assert [one["translation"] for one in found] == [one["text"].upper() for one in found]
    assert made.result(job)["translation"] == {"language": "en", "provider": "whisper"}
    assert engine.translated == sum(task.output is not None for task in made.chunks(job))


def test_whisper_is_not_asked_where_somebody_before_it_can(bilingual: tuple[Kit, Bilingual], short: bytes) -> None:
    made, engine = bilingual
    made.parts = replace(made.parts, translators=Translators([ScriptedTranslator({("de", "en")}), SPOKEN]))
    job = made.submit(short, translate_to="en")
    assert made.run() == "completed" and not engine.translated
    assert made.result(job)["translation"]["provider"] == "scripted"


# --- pure functions
def phrase(start: float, end: float, text: str, channel: int | None = None) -> Segment:
    return Segment(start=start, end=end, text=text, channel=channel)


def test_phrases_stand_at_the_segment_they_overlap_most() -> None:
    said = [phrase(0, 2, "a"), phrase(2, 6, "b"), phrase(7, 9, "c"), phrase(60, 61, "d")]
    heard = [
        phrase(0.1, 2.5, "A"),
        phrase(2.5, 4, "B1"),
        phrase(4, 6.3, "B2"),
        phrase(6.5, 6.8, "c?"),
        phrase(7, 9, "C"),
    ]
    assert beside(said, heard, "en") == ["A", "B1 B2", "c? C", None]
    assert beside([], heard, "en") == [] and beside(said, [], "en") == [None] * 4
    both = [phrase(0, 2, "a", 0), phrase(0.5, 2, "b", 1)]
    assert beside(both, [phrase(0, 2, "B", 1), phrase(0, 2, "A", 0)], "en") == ["A", "B"]


@pytest.mark.parametrize(
    ("translation", "parts", "found"),
    [
        ("Ja. Ich komme gleich.", ["Yes.", "I am coming soon."], ["Ja.", "Ich komme gleich."]),
        ("Ja. Nein. Ich komme gleich.", ["Yes. No.", "I am coming soon."], ["Ja. Nein.", "Ich komme gleich."]),
        ("Ja, ich komme gleich.", ["Yes,", "I am coming soon."], [None, "Ja, ich komme gleich."]),
        ("好。我来了。", ["Good.", "I come."], ["好。", "我来了。"]),
        ("Ganz.", ["All."], ["Ganz."]),
    ],
)
def test_a_translation_goes_to_who_has_said_it(translation: str, parts: list[str], found: list[str | None]) -> None:
    shared = shared_out(
        translation, [phrase(n, n + 1, text) for n, text in enumerate(parts)], "zh" if "好" in translation else "de"
    )
    assert [one.translation for one in shared] == found
