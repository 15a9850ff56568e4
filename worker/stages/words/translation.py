"""Each segment in another language: its text by whoever translates here, or its sound once more by the model that heard it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from core.audio.samples import SAMPLE_RATE
from core.errors import TranslationFailed
from core.jobs.job import Phase
from core.jobs.tasks import TRANSCRIBE, Task, TaskState
from core.notices import Notice
from core.speech.chunks import Chunk
from core.transcript.merge import Piece, merge
from core.transcript.values import Segment, Transcript, Translation
from whisper.translation.router import SPOKEN, Choice, nobody
from whisper.translation.spoken import in_english
from whisper.translation.translator import Translator
from whisper.types import SHORTEST, ChunkTranscript
from worker.context.stage import SEGMENTS_AT_ONCE, Grain, Lane, OnFailure, Output, Place, Stage
from worker.context.work import Work
from worker.stages.transcribe import options_of
from worker.stages.words.phrases import beside

log = logging.getLogger(__name__)

TRANSLATION, SPOKEN_TRANSLATION = "translation", "spoken_translation"

BEFORE = 3
"""Segments before a batch, for translators that go by what was said before."""


class TranslationStage(Stage):
    """Texts, some segments at a time as they become final. What cannot be translated costs its own segments a translation, never the
    transcript anything."""

    name = TRANSLATION
    needs = (TRANSCRIBE,)
    grain = Grain.SEGMENTS
    lane = Lane.IO
    place = Place.ANYWHERE
    on_failure = OnFailure.DEGRADE
    phase = Phase.TRANSLATING

    def wanted(self, work: Work) -> bool:
        return is_translated(work)

    def options(self, work: Work) -> Mapping[str, Any]:
        return {"translate_to": work.job.params.translate_to, "by": work.parts.translators.version}

    def run(self, work: Work, task: Task) -> Output:
        first = task.number * SEGMENTS_AT_ONCE
        segments = work.segments[first : first + SEGMENTS_AT_ONCE]
        texts: list[str | None] = [None] * len(segments)
        by: list[str | None] = [None] * len(segments)
        why: list[str] = []
        for language in dict.fromkeys(_language(work, one) for one in segments):
            own = [n for n, one in enumerate(segments) if _language(work, one) == language]
            choice = _choice(work, language) if language != work.job.params.translate_to else None
            if language == work.job.params.translate_to or choice == SPOKEN:
                continue
            if choice is None or isinstance(choice, str):
                why.append(nobody(language, work.job.params.translate_to or ""))
                continue
            before = [one.text for one in work.segments[max(0, first + own[0] - BEFORE) : first + own[0]]]
            found = _Asked(work, choice, language, why).translations([segments[n].text for n in own], before)
            for n, text in zip(own, found, strict=True):
                texts[n], by[n] = text, choice.name
        if why and not any(texts):
            raise TranslationFailed(why[0])
        return Output(data={"texts": texts, "by": by, "why": why[:1]})


class SpokenTranslationStage(Stage):
    """Whisper's own English, by chunk: the same sound by another task. Its phrases are put beside the segments when the transcript
    is put together."""

    name = SPOKEN_TRANSLATION
    needs = ("decode", TRANSCRIBE)
    grain = Grain.CHUNK
    lane = Lane.ENGINE
    on_failure = OnFailure.DEGRADE
    phase = Phase.TRANSLATING

    def wanted(self, work: Work) -> bool:
        language = work.job.params.language
        if not is_translated(work) or SPOKEN not in work.parts.translators.names or not _can_speak(work):
            return False
        return language is None or _choice(work, language) == SPOKEN

    def options(self, work: Work) -> Mapping[str, Any]:
        return {"translate_to": work.job.params.translate_to, "by": work.parts.translators.version}

    def run(self, work: Work, task: Task) -> Output:
        (heard,) = work.tasks(TRANSCRIBE, [task.number])
        chunk = Chunk.from_dict(heard.plan or {})
        said = ChunkTranscript.from_dict(heard.output) if heard.output else None
        if said is None or not said.segments or chunk.samples < SHORTEST or _choice(work, said.language) != SPOKEN:
            return Output()
        pcm = work.for_words.read_regions(chunk.regions, chunk.channel)
        call, options = work.call(f"translation of chunk {chunk.index + 1}"), options_of(work, chunk, said.language)
        english = in_english(work.parts.transcriber, pcm, options, call, model=work.job.params.model)
        work.report.meter.engine(cpu=english.engine_seconds, wall=english.wall_seconds)
        return Output(data=english.to_dict(), engine_seconds=english.engine_seconds)


def is_translated(work: Work) -> bool:
    """Not where English is written anyway (`translate_to` may be an installation's default)."""
    params = work.job.params
    return params.translate_to is not None and params.task == "transcribe"


def translated(
    transcript: Transcript, chunks: Sequence[Task], texts: Sequence[Task], spoken: Sequence[Task], target: str
) -> Transcript:
    """With the translations that there are, and a warning with counts where some are missing.

    transcript: its segments are those that were handed to `TranslationStage`, in order
    chunks: of the plan; texts, spoken: what came of the two stages
    """
    segments = transcript.segments
    found: list[str | None] = [None] * len(segments)
    by: list[str | None] = [None] * len(segments)
    for task in texts:
        output = task.output or {} if task.state is TaskState.DONE else {}
        for n, (text, name) in enumerate(
            zip(output.get("texts", ()), output.get("by", ()), strict=True), task.number * SEGMENTS_AT_ONCE
        ):
            found[n], by[n] = text, name
    heard = {task.number: ChunkTranscript.from_dict(task.output) for task in spoken if task.output}
    if heard:
        plans = {task.number: Chunk.from_dict(task.plan or {}) for task in chunks}
        phrases = merge(Piece(chunk=plans[n], segments=said.segments) for n, said in heard.items()).segments
        alone = all(segment.channel is None for segment in segments)
        placed = [replace(phrase, channel=None) for phrase in phrases] if alone else phrases
        for n, text in enumerate(beside(segments, placed, target)):
            if found[n] is None and text:
                found[n], by[n] = text, SPOKEN
    names = [name for name, _ in Counter(name for name in by if name).most_common()]
    here = [replace(one, translation=text) for one, text in zip(segments, found, strict=True)]
    missing = _missing(here, texts, spoken, chunks, target, transcript.language.code)
    warnings = [
        one for one in transcript.warnings if one.code not in (f"{TRANSLATION}_failed", f"{SPOKEN_TRANSLATION}_failed")
    ]
    if missing:
        why = _why([*texts, *spoken])
        message = f"{missing} of {len(segments)} segments have no translation. {why}".strip()
        log.warning("%s", message)
        warnings.append(Notice(code=TranslationFailed.code, message=message))
    return replace(
        transcript,
        segments=tuple(here),
        translation=Translation(language=target, provider=", ".join(names)),
        warnings=tuple(warnings),
    )


class _Asked:
    """What one translator makes of some segments. why: told what went wrong"""

    def __init__(self, work: Work, translator: Translator, source: str, why: list[str]) -> None:
        self._work, self._translator, self._source, self._why = work, translator, source, why

    def translations(self, texts: Sequence[str], before: Sequence[str]) -> list[str | None]:
        """None where there is none: one that cannot be translated is looked for by halves, and costs the others nothing."""
        known = self._work.translations
        new = [text for text in dict.fromkeys(texts) if (self._source, text) not in known]
        if new:
            for text, said in zip(new, self._some(new, before), strict=True):
                if said is not None:
                    known[self._source, text] = said
        return [known.get((self._source, text)) for text in texts]

    def _some(self, texts: Sequence[str], before: Sequence[str]) -> list[str | None]:
        target = self._work.job.params.translate_to
        assert target is not None
        try:
            return [
                *self._translator.translate(
                    texts, source=self._source, target=target, before=before, cancel=self._work.cancel
                )
            ]
        except TranslationFailed as error:
            log.warning("Not translated: %s", error.message)
            if error.details.get("away") or len(texts) == 1:
                self._why.append(error.message)
                return [None] * len(texts)
        half = len(texts) // 2
        return self._some(texts[:half], before) + self._some(texts[half:], [*before, *texts[:half]][-BEFORE:])


def _choice(work: Work, source: str) -> Choice | None:
    target = work.job.params.translate_to
    assert target is not None
    return work.parts.translators.choose(source, target, spoken=_can_speak(work))


def _can_speak(work: Work) -> bool:
    return work.model.info.translates and work.job.params.translate_to == "en"


def _language(work: Work, segment: Segment) -> str:
    return segment.language or (work.language.code if work.language else "")


def _missing(
    segments: Sequence[Segment],
    texts: Sequence[Task],
    spoken: Sequence[Task],
    chunks: Sequence[Task],
    target: str,
    language: str,
) -> int:
    """Segments whose translation has failed: none is missed of those in that language, nor where Whisper wrote nothing for one
    phrase of a chunk."""
    asked_for: set[int] = set()
    for task in texts:
        first = task.number * SEGMENTS_AT_ONCE
        if task.state is TaskState.FAILED or (task.output or {}).get("why"):
            asked_for |= set(range(first, first + SEGMENTS_AT_ONCE))
    failed = {task.number for task in spoken if task.state is TaskState.FAILED}
    spans = [
        (chunk.start / SAMPLE_RATE, chunk.end / SAMPLE_RATE, chunk.channel)
        for chunk in (Chunk.from_dict(task.plan or {}) for task in chunks if task.number in failed)
    ]
    return sum(
        one.translation is None
        and (one.language or language) != target
        and (
            n in asked_for
            or any(start <= one.start < end and one.channel in (None, channel) for start, end, channel in spans)
        )
        for n, one in enumerate(segments)
    )


def _why(tasks: Sequence[Task]) -> str:
    """The first that went wrong."""
    for task in tasks:
        if task.state is TaskState.FAILED:
            return str((task.error or {}).get("message", ""))
        if told := (task.output or {}).get("why"):
            return str(told[0])
    return ""
