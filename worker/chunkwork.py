"""The engine's part of a run: the language vote, and one call per chunk."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from typing import Any

from core.audio.decoder import PcmSpool
from core.audio.samples import SAMPLE_RATE, Pcm, Region
from core.errors import ChunkFailed
from core.jobs.job import ChunkRow, ChunkState, Claim
from core.speech.chunks import Chunk, common
from core.system import logs
from core.system.cancel import Cancel
from core.system.crashpoints import reached
from core.transcript.merge import needs_words
from core.transcript.values import Language
from whisper.models.store import ValidModel
from whisper.types import SHORTEST, ChunkTranscript, LanguageGuess, TranscribeOptions
from worker.language import LanguageVote, own_language
from worker.leftovers import complete
from worker.listen import Listener
from worker.parts import Parts
from worker.report import Report

log = logging.getLogger(__name__)

SECOND_TEMPERATURE = 0.4
"""Speech without text is decoded once more on the second rung of the ladder: greedy found nothing, sampling may."""


class ChunkWork:
    """What the pool's threads do for one job; `run` is safe to call from all of them at once.

    language: of the whole job, set before the first `run`; None = each chunk detects its own
    patiently: writes to the job table, waiting while it is away
    """

    def __init__(
        self,
        parts: Parts,
        claim: Claim,
        model: ValidModel,
        *,
        spool: PcmSpool,
        listener: Listener,
        report: Report,
        cancel: Cancel,
        patiently: Callable[[Callable[[], Any]], Any],
    ) -> None:
        self._parts, self._claim, self._model, self._job = parts, claim, model, claim.job
        self._spool, self._listener, self._report = spool, listener, report
        self._cancel, self._patiently = cancel, patiently
        self._first: dict[int, Future[ChunkTranscript | LanguageGuess | None]] = {}
        self.language: Language | None = None

    def vote(
        self, chunks: Iterator[tuple[Chunk, int]], pool: Executor, width: int
    ) -> tuple[list[tuple[Chunk, int]], Language | None, float]:
        """Find the language by the first windows with speech, so many of which are decoded side by side.

        Returns the chunks taken for that, the language (None: no speech, or the engine failed on all windows) and the
        engine's CPU seconds that no chunk will account for.

        An engine that tells languages beside its text is given the likeliest one to begin with: where that was right,
        the text is already there when `run` wants it, and finding the language has cost nothing. Another engine is asked
        about one window after the other, since each costs a pass of its own.
        """
        if not self._parts.transcriber.engine.hears_languages:
            width = 1
        vote = LanguageVote(self._parts.settings.usual_languages)
        held: list[tuple[Chunk, int]] = []
        ahead: deque[Future[ChunkTranscript | LanguageGuess | None]] = deque()
        seconds = 0.0

        def count() -> None:
            nonlocal seconds
            said = ahead.popleft().result()
            vote.add(said.languages if isinstance(said, ChunkTranscript) else said.probabilities if said else {})
            seconds += said.engine_seconds if isinstance(said, LanguageGuess) else 0.0

        for chunk, crashes in chunks:
            held.append((chunk, crashes))
            if chunk.samples < SHORTEST or self._is_poison(crashes):
                continue
            while ahead and (crashes or len(ahead) >= width):
                count()
            if vote.decided:
                break
            future = pool.submit(self._evidence, chunk, vote.guess)
            ahead.append(future)
            self._first[chunk.index] = future
            if crashes or len(ahead) >= width:
                count()
            if vote.decided:
                break
        while ahead and not vote.decided:
            count()
        language = vote.result()
        if language is not None:
            log.info("Language %s (%.2f)", language.code, language.confidence)
        return held, language, seconds

    def _evidence(self, chunk: Chunk, guess: str) -> ChunkTranscript | LanguageGuess | None:
        """What one window tells about its language; None where the engine failed on it (runs in the pool)."""
        with logs.bound(job_id=self._job.id):
            try:
                if self._parts.transcriber.engine.hears_languages:
                    return self._transcribe(self._begun(chunk), self._options(chunk, guess), chunk)
                return self._parts.transcriber.detect_language(
                    self._samples(chunk), model=self._job.params.model, job=self._job.id, cancel=self._cancel
                )
            except ChunkFailed as error:
                log.warning("Language not detected in chunk %d: %s", chunk.index + 1, error.message)
                return None

    def run(self, chunk: Chunk, crashes: int) -> None:
        """Transcribe one chunk and commit its row (runs in the pool)."""
        with logs.bound(job_id=self._job.id):
            row = ChunkRow(index=chunk.index, plan=chunk.to_dict(), state=ChunkState.DONE)
            started = time.monotonic()
            characters = 0
            if chunk.regions and self._is_poison(crashes):
                row = replace(
                    row,
                    state=ChunkState.FAILED,
                    error={
                        "code": "worker_crashed",
                        "message": f"The job's process died {crashes} times while it worked on this chunk.",
                    },
                )
            elif chunk.samples >= SHORTEST:
                first = self._first.pop(chunk.index, None)
                early = first.result() if first else None
                pcm = self._begun(chunk)
                try:
                    said, seconds = self._ask(chunk, pcm, early if isinstance(early, ChunkTranscript) else None)
                    characters = len(said.text)
                    row = replace(row, transcript=said.to_dict(), engine_seconds=seconds)
                except ChunkFailed as error:
                    row = replace(row, state=ChunkState.FAILED, error={"code": error.code, "message": error.message})
            reached("before_commit")
            # a finished chunk is never computed again: while the database is away, wait with it in hand
            self._patiently(
                lambda: self._parts.store.commit(
                    self._claim, row, audio_seconds=(chunk.end - chunk.start) / SAMPLE_RATE
                )
            )
            reached("after_commit")
            self._report.chunk(row, characters=characters, seconds=time.monotonic() - started)

    def _begun(self, chunk: Chunk) -> Pcm:
        """The samples of a chunk that is in flight from here on: it may be what kills this process."""
        pcm = self._samples(chunk)
        self._patiently(lambda: self._parts.store.start(self._claim, chunk.index))
        reached("after_start")
        return pcm

    def _samples(self, chunk: Chunk) -> Pcm:
        """What the engine is to hear, once it is decoded. A job that goes on under another decoder may have a little less."""
        self._listener.wait_samples(chunk.regions[-1].end)
        regions: Sequence[Region] = chunk.regions
        if (decoded := self._listener.decoded) is not None:
            regions = common(regions, [Region(start=0, end=decoded.samples)])
        return self._spool.read_regions(regions)

    def _ask(self, chunk: Chunk, pcm: Pcm, early: ChunkTranscript | None) -> tuple[ChunkTranscript, float]:
        """The chunk's text and the CPU seconds it cost.

        early: what the language vote has already made of it
        """
        options = self._options(chunk, self.language.code if self.language else None)
        said, seconds = self._heard(pcm, options, chunk, early)

        def again(samples: Pcm, nothing: bool) -> ChunkTranscript | None:
            changed = (
                {"temperature": max(options.temperature, SECOND_TEMPERATURE)} if nothing else {"fit_context": True}
            )
            try:
                found, cost = self._heard(samples, replace(options, **changed), chunk)
            except ChunkFailed as error:
                log.warning("Chunk %d: not decoded again where speech had no text: %s", chunk.index + 1, error.message)
                return None
            return replace(found, engine_seconds=cost)

        found, more = complete(chunk, pcm, said, again)
        if more:
            log.info(
                "Chunk %d: decoded again where speech had no text, %d characters more",
                chunk.index + 1,
                len(found.text) - len(said.text),
            )
        return found, seconds + more

    def _heard(
        self, pcm: Pcm, options: TranscribeOptions, chunk: Chunk, early: ChunkTranscript | None = None
    ) -> tuple[ChunkTranscript, float]:
        """Decoded in the job's language, or in the audio's own where nobody named one and it clearly is another."""
        said, seconds = early, early.engine_seconds if early else 0.0
        if said is None or said.language != options.language:
            said = self._transcribe(pcm, options, chunk)
            seconds += said.engine_seconds
        if options.language and self._job.params.language is None:
            own = own_language(options.language, said.languages, len(pcm))
            if own != said.language:
                said = self._transcribe(pcm, replace(options, language=own), chunk)
                seconds += said.engine_seconds
        return said, seconds

    def _options(self, chunk: Chunk, language: str | None) -> TranscribeOptions:
        params = self._job.params
        return TranscribeOptions(
            language=language,
            task=params.task,
            prompt=params.prompt,
            temperature=params.temperature,
            beam_size=params.beam_size,
            word_timestamps=params.word_timestamps or needs_words(chunk),
            fit_context=self._parts.settings.fit_context,
        )

    def _transcribe(self, pcm: Pcm, options: TranscribeOptions, chunk: Chunk) -> ChunkTranscript:
        return self._parts.transcriber.transcribe(
            pcm,
            options,
            model=self._job.params.model,
            job=self._job.id,
            label=f"chunk {chunk.index + 1}/{self._report.total or '?'}",
            cancel=self._cancel,
        )

    def _is_poison(self, crashes: int) -> bool:
        """Give the chunk up before the job's own attempts run out?

        Only when the process has also died again and again without any chunk getting done: a job that is killed
        often and gets further each time loses none.
        """
        most = self._parts.settings.max_attempts
        return crashes >= most and self._claim.job.strikes >= most - 1
