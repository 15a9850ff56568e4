"""The engine's part of a run: the language vote, and one call per chunk."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from core import logs
from core.audio import PcmSpool
from core.chunks import SAMPLE_RATE, Chunk
from core.coverage import speech_without_text
from core.crashpoints import reached
from core.errors import ChunkFailed
from core.jobs import ChunkRow, ChunkState, Claim
from core.merge import needs_words
from core.transcript import Language
from whisper.models import ValidModel
from whisper.transcriber import SHORTEST
from whisper.types import Cancel, ChunkTranscript, Pcm, TranscribeOptions
from worker.listen import Listener
from worker.parts import Parts
from worker.report import Report

log = logging.getLogger(__name__)

DETECT_WINDOWS = 3
"""Language is voted on by up to so many speech windows..."""

DETECT_SURE = 0.9
"""...but one window that is so sure is enough (its encoder pass costs as much as half a chunk)."""

SECOND_TEMPERATURE = 0.4
"""Speech without text is decoded once more on the second rung of the ladder: greedy found nothing, sampling may."""


class ChunkWork:
    """What the pool's threads do for one job; `run` is safe to call from all of them at once.

    language: of the whole job, set before the first `run`; None = each chunk detects its own
    patiently: writes to the job table, waiting while it is away
    """

    def __init__(
        self, parts: Parts, claim: Claim, model: ValidModel, *, spool: PcmSpool, listener: Listener, report: Report,
        cancel: Cancel, patiently: Callable[[Callable[[], Any]], Any],
    ) -> None:  # fmt: skip
        self._parts, self._claim, self._model, self._job = parts, claim, model, claim.job
        self._spool, self._listener, self._report = spool, listener, report
        self._cancel, self._patiently = cancel, patiently
        self.language: Language | None = None

    def vote(self, chunks: Iterator[tuple[Chunk, int]]) -> tuple[list[tuple[Chunk, int]], Language | None, float]:
        """Detect the language on the first speech windows.

        Returns the chunks taken for that, the language (None: no speech, or the engine failed on all windows) and
        the engine's CPU seconds.

        Independent chunks must agree on the language, or a name or a quotation flips one of them. One window
        that is sure decides; else two that agree; else the largest summed probability of three.
        """
        held, votes, best = [], Counter[str](), Counter[str]()
        heard = tried = 0
        seconds = 0.0
        language = None
        for item in chunks:
            held.append(item)
            chunk = item[0]
            if not chunk.regions:
                continue
            self._listener.wait_samples(chunk.regions[-1].end)
            try:
                guess = self._parts.transcriber.detect_language(
                    self._spool.read_regions(chunk.regions), model=self._job.params.model, job=self._job.id, cancel=self._cancel
                )
            except ChunkFailed as error:
                # this window has no vote; without any, each chunk detects its own
                log.warning("Language not detected in chunk %d: %s", chunk.index + 1, error.message)
                tried += 1
                if tried >= DETECT_WINDOWS:
                    break
                continue
            heard += 1
            seconds += guess.engine_seconds
            votes.update(guess.probabilities)
            best[guess.language] += 1
            sure = guess.probability >= DETECT_SURE or best[guess.language] >= 2
            if sure or heard >= DETECT_WINDOWS:
                break
        if heard:
            code, total = votes.most_common(1)[0]
            language = Language(code=code, confidence=round(total / heard, 4))
            log.info("Language %s (%.2f, %d windows)", code, language.confidence, heard)
        return held, language, seconds

    def run(self, chunk: Chunk, crashes: int) -> None:
        """Transcribe one chunk and commit its row (runs in the pool)."""
        with logs.bound(job_id=self._job.id):
            row = ChunkRow(index=chunk.index, plan=chunk.to_dict(), state=ChunkState.DONE)
            started = time.monotonic()
            characters = 0
            if chunk.regions and self._is_poison(crashes):
                row = replace(row, state=ChunkState.FAILED, error={
                    "code": "worker_crashed", "message": f"The job's process died {crashes} times while it worked on this chunk.",
                })  # fmt: skip
            elif chunk.seconds >= SHORTEST:
                self._listener.wait_samples(chunk.regions[-1].end)
                self._patiently(lambda: self._parts.store.start(self._claim, chunk.index))
                reached("after_start")
                pcm = self._spool.read_regions(chunk.regions)
                try:
                    said, seconds = self._ask(chunk, pcm)
                    characters = len(said.text)
                    row = replace(row, transcript=said.to_dict(), engine_seconds=seconds, cache_key=self._cache_key(pcm))
                except ChunkFailed as error:
                    row = replace(row, state=ChunkState.FAILED, error={"code": error.code, "message": error.message})
            reached("before_commit")
            # a finished chunk is never computed again: while the database is away, wait with it in hand
            self._patiently(lambda: self._parts.store.commit(self._claim, row, audio_seconds=(chunk.end - chunk.start) / SAMPLE_RATE))
            reached("after_commit")
            self._report.chunk(row, characters=characters, seconds=time.monotonic() - started)

    def _ask(self, chunk: Chunk, pcm: Pcm) -> tuple[ChunkTranscript, float]:
        """The engine's answer and the CPU seconds it cost; speech without text is asked about once more."""
        params = self._job.params
        options = TranscribeOptions(
            language=self.language.code if self.language else None, task=params.task, prompt=params.prompt,
            temperature=params.temperature, beam_size=params.beam_size,
            word_timestamps=params.word_timestamps or needs_words(chunk), fit_context=self._parts.settings.fit_context,
        )  # fmt: skip

        def ask(options: TranscribeOptions) -> ChunkTranscript:
            return self._parts.transcriber.transcribe(
                pcm, options, model=params.model, job=self._job.id, label=f"chunk {chunk.index + 1}/{self._report.total or '?'}",
                cancel=self._cancel,
            )  # fmt: skip

        said = ask(options)
        seconds = said.engine_seconds
        if speech_without_text(chunk, said.text):
            log.info("Chunk %d: speech without text, trying once more", chunk.index + 1)
            again = ask(replace(options, temperature=max(options.temperature, SECOND_TEMPERATURE)))
            seconds += again.engine_seconds
            said = again if again.text else said
        return said, seconds

    def _cache_key(self, pcm: Pcm) -> str:
        digest = hashlib.sha256(pcm.tobytes())
        digest.update(f"{self._model.sha256} {json.dumps(self._job.params.to_dict(), sort_keys=True)} {self.language}".encode())
        return digest.hexdigest()

    def _is_poison(self, crashes: int) -> bool:
        """Give the chunk up before the job's own attempts run out?

        Only when the process has also died again and again without any chunk getting done: a job that is killed
        often and gets further each time loses none.
        """
        most = self._parts.settings.max_attempts
        return crashes >= most and self._claim.job.strikes >= most - 1
