"""The language of the whole job, frozen on its first windows with speech."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from core.errors import ChunkFailed
from core.jobs.tasks import Task
from core.speech.chunks import Chunk
from whisper.types import SHORTEST, ChunkTranscript, LanguageGuess
from worker.context.stage import Output, Stage
from worker.context.work import Evidence, Work
from worker.stages.language_vote import LanguageVote
from worker.stages.transcribe import ask_engine, options_of

log = logging.getLogger(__name__)


class LanguageStage(Stage):
    """An engine that tells languages beside its text is given the likeliest one to begin with: where that was right, the text
    is already there when the chunk's turn comes, and finding the language has cost nothing. Another engine is asked about
    one window after the other, since each costs a pass of its own.
    """

    name = "language"
    needs = ("plan",)
    stored = False  # it stands in the job's row

    def wanted(self, work: Work) -> bool:
        return work.language is None

    def options(self, work: Work) -> Mapping[str, Any]:
        settings = work.parts.settings
        return {
            "model": work.model.sha256,
            "language": work.job.params.language,
            "usual_languages": list(settings.usual_languages),
        }

    def run(self, work: Work, task: Task) -> Output:
        """None is found when there is no speech, or the engine failed on all windows: then each chunk finds its own."""
        hears = work.parts.transcriber.engine.hears_languages
        width = min(work.width, work.parts.plan.workers) if hears else 1
        vote = LanguageVote(work.parts.settings.usual_languages)
        ahead: deque[Future[Evidence]] = deque()

        def count() -> None:
            said = ahead.popleft().result()
            vote.add(said.languages if isinstance(said, ChunkTranscript) else said.probabilities if said else {})
            if isinstance(said, LanguageGuess):
                work.unaccounted_seconds += said.engine_seconds

        for part in work.plan.open_tasks():
            chunk = Chunk.from_dict(part.plan or {})
            if chunk.samples < SHORTEST or work.is_poison(part.crashes):
                continue
            while ahead and (part.crashes or len(ahead) >= width):
                count()
            if vote.decided:
                break
            future = work.submit(self._evidence, work, part, chunk, vote.guess)
            ahead.append(future)
            work.early[part.number] = future
            if part.crashes or len(ahead) >= width:
                count()
            if vote.decided:
                break
        while ahead and not vote.decided:
            count()
        work.check()
        language = vote.result()
        if language is not None:
            log.info("Language %s (%.2f)", language.code, language.confidence)
            work.language = language
            work.learn(language=language.code, language_confidence=language.confidence)
        return Output()

    def _evidence(self, work: Work, part: Task, chunk: Chunk, guess: str) -> Evidence:
        """What one window tells about its language; None where the engine failed on it."""
        pcm = work.for_words.read_regions(chunk.regions, chunk.channel)
        try:
            if work.parts.transcriber.engine.hears_languages:
                work.lease(part)
                return ask_engine(work, pcm, options_of(work, chunk, guess), chunk)
            call = work.call("language")
            heard = work.parts.transcriber.detect_language(pcm, call, model=work.job.params.model)
            work.report.meter.engine(cpu=heard.engine_seconds)
            return heard
        except ChunkFailed as error:
            log.warning("Language not detected in chunk %d: %s", chunk.index + 1, error.message)
            return None
