"""The stages of one run: model, source, decode and plan, language, chunks, merge, finish. Resumes from stored chunks."""

from __future__ import annotations

import io
import itertools
import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from core.audio.decoder import DECODER, DecodedAudio, Decoder, PcmSpool
from core.audio.samples import SAMPLE_RATE
from core.audio.tracks import TrackChoice
from core.errors import Cancelled, HandedBack, JobNotFound, TransientError
from core.jobs.job import ChunkRow, ChunkState, Claim, Job, Stage
from core.objects.store import result_key
from core.speech.chunks import Chunk, plan_hash
from core.speech.planner import PLANNER_VERSION, ChunkPlanner
from core.speech.strategies import region_source
from core.speech.uncertain_speech import notice
from core.system.crashpoints import reached
from core.transcript.formats import to_result
from core.transcript.language_tags import language_code
from core.transcript.values import Language
from worker.chunkwork import ChunkWork
from worker.lifeline import Lifeline
from worker.listen import Listener
from worker.outcome import assemble
from worker.parts import Parts
from worker.report import Report
from worker.source import fetch

log = logging.getLogger(__name__)


class _Early:
    """Cancel flag of what comes before the first chunk: at a shutdown there is nothing in flight to wait for."""

    def __init__(self, lifeline: Lifeline) -> None:
        self._lifeline = lifeline

    def is_set(self) -> bool:
        return self._lifeline.is_set() or self._lifeline.draining.is_set()


class JobFlow:
    """One claim's work. `run` may be called again after a TransientError and goes on where it was."""

    def __init__(
        self, parts: Parts, claim: Claim, folder: Path, lifeline: Lifeline, on_duration: Callable[[float], None] | None
    ) -> None:
        self.parts, self.claim, self.folder, self.lifeline = parts, claim, folder, lifeline
        self.job = claim.job
        self.stage = Stage.DECODING
        self._on_duration = on_duration
        self._report = Report(parts.plan, parts.settings.parallel)
        self._language: Language | None = None
        self._warnings: list[dict[str, str]] = list(self.job.warnings)
        self._detect_seconds = 0.0
        self._abort = threading.Event()
        self._lock = threading.Lock()

    def run(self) -> None:
        """Raises JobError, TransientError or Interrupted; returns when the job is completed."""
        parts, job, settings = self.parts, self.job, self.parts.settings
        if self.job.stage is not Stage.DECODING:  # a claim has said so already
            self._progress(stage=Stage.DECODING)
        try:
            parts.transcriber.downloader.ensure_model_exists(job.params.model, cancel=_Early(self.lifeline))
        except Cancelled:
            self.lifeline.check()
            raise HandedBack from None
        self._model = parts.models.validate(job.params.model)
        self.lifeline.check()
        self._abort.clear()
        rows = self._stored_plan()
        self._language = self._known_language()
        complete = bool(rows) and self.job.chunks_total == len(rows)
        if complete and self.job.duration is not None and all(row.state is not ChunkState.PLANNED for row in rows):
            self._report.begin(done=len(rows), total=len(rows))
            self._finish()  # only the end was missing
            return
        source = fetch(parts.objects, job.source, self.folder, self.lifeline)
        self.lifeline.check()
        reached("after_source")
        chunks = [Chunk.from_dict(row.plan) for row in rows]
        self._total = len(rows)
        self._speech = sum(chunk.speech_samples for chunk in chunks)
        self._heard = [region for chunk in chunks for region in chunk.regions]
        spool = self.folder / "pcm.s16le"
        regions = self._regions = region_source(settings.chunk_strategy, parts.vad().feed)
        planner = ChunkPlanner(
            int(settings.chunk_seconds * SAMPLE_RATE),
            quietest=regions.quietest,
            finds_speech=regions.finds_speech,
            start=chunks[-1].end if chunks else 0,
            first_index=len(rows),
        )
        width = parts.width if settings.parallel else 1
        listener = Listener(
            source=source,
            spool=spool,
            decoder=self._decoder(),
            regions=regions,
            planner=planner,
            replan=not complete,
            head=width + 1,
            cancel=self,
            on_chunks=self._store_chunks,
            on_planned=self._planned,
        )
        with listener:
            self._transcribe(listener, spool, rows, complete, width)
        self.lifeline.check()
        self._finish()

    # --- before the first chunk
    def _decoder(self) -> Decoder:
        settings, params = self.parts.settings, self.job.params
        choice = TrackChoice(
            wanted=params.audio_track,
            speech=lambda: region_source("vad", self.parts.vad().feed),
            language_code=language_code,
        )
        return Decoder(
            self.parts.ffmpeg,
            max_seconds=settings.max_audio_seconds,
            nice=settings.nice,
            choice=choice,
            media_type=self.job.source.media_type,
        )

    def _stored_plan(self) -> list[ChunkRow]:
        """What former owners (or the job this one retries) planned and finished."""
        store, job, settings = self.parts.store, self.job, self.parts.settings
        params = job.params.to_dict() | {"chunk_seconds": settings.chunk_seconds, "strategy": settings.chunk_strategy}
        if settings.fit_context:
            params["context"] = "fit"
        identity = plan_hash(
            audio_sha256=job.source.sha256,
            decoder=DECODER,
            planner=PLANNER_VERSION,
            model_sha256=self._model.sha256,
            options=params,
        )
        if job.plan_hash is None:
            self._progress(plan_hash=identity)
        elif job.plan_hash != identity:
            self._warn(
                "mixed_versions", "The job went on under another version or model file; finished chunks were kept."
            )
        rows: list[ChunkRow] = self._patiently(lambda: store.rows(job.id))
        if job.retry_of and not job.retry_all and not rows and self._adopted(job.retry_of, identity):
            rows = self._patiently(lambda: store.rows(job.id))
        return rows

    def _adopted(self, old: str, identity: str) -> int:
        """Take over what the retried job has finished; returns how many chunks. An owner that dies here leaves it to the next."""
        store = self.parts.store
        try:
            before: Job = self._patiently(lambda: store.get(old))
        except JobNotFound:
            return 0
        if before.plan_hash != identity:
            return 0
        if before.language:
            # first, for nobody comes here again once there are chunks: those still to do must be heard in the same language
            self._progress(language=before.language, language_confidence=before.language_confidence)
        adopted: int = self._patiently(lambda: store.adopt(self.claim, old))
        if adopted:
            log.info("Took over %d finished chunks of job %s", adopted, old)
            self.job = self._patiently(lambda: store.get(self.job.id))
        return adopted

    def _known_language(self) -> Language | None:
        job = self.job
        if not self._model.info.multilingual:
            return Language(code="en", confidence=1.0)
        if job.params.language:
            return Language(code=job.params.language, confidence=1.0)
        if job.language:
            return Language(code=job.language, confidence=job.language_confidence or 0.0)
        return None

    # --- chunks
    def _transcribe(
        self, listener: Listener, spool_path: Path, rows: list[ChunkRow], complete: bool, width: int
    ) -> None:
        parts = self.parts
        done = sum(row.state is not ChunkState.PLANNED for row in rows)
        self._report.begin(done=done, total=len(rows) if complete else None)
        listener.wait_samples(1)
        self.stage = Stage.TRANSCRIBING
        self._progress(stage=Stage.TRANSCRIBING)
        pool = ThreadPoolExecutor(max_workers=width, thread_name_prefix="chunk")
        with PcmSpool(spool_path) as spool:
            try:
                running: set[Future[None]] = set()
                chunks = self._chunks(listener, rows, complete)
                work = ChunkWork(
                    parts,
                    self.claim,
                    self._model,
                    spool=spool,
                    listener=listener,
                    report=self._report,
                    cancel=self,
                    patiently=self._patiently,
                )
                if self._language is None:
                    chunks = itertools.chain(self._vote(work, chunks, pool, width), chunks)
                work.language = self._language
                for chunk, crashes in chunks:
                    while len(running) >= (1 if crashes else width):
                        if self._reap(running):
                            listener.go_on()
                    if self.lifeline.draining.is_set():
                        break
                    running.add(pool.submit(work.run, chunk, crashes))
                while running:
                    self._reap(running)
                if self.lifeline.draining.is_set():
                    raise HandedBack
            finally:
                # the threads must be gone before the spool is; on the way out of an error their calls are cancelled
                self._abort.set()
                pool.shutdown(wait=True, cancel_futures=True)

    def _vote(
        self, work: ChunkWork, chunks: Iterator[tuple[Chunk, int]], pool: Executor, width: int
    ) -> list[tuple[Chunk, int]]:
        """Freeze the language on the first windows; returns the chunks that were taken for that."""
        taken, language, self._detect_seconds = work.vote(chunks, pool, min(width, self.parts.plan.workers))
        if language is not None:
            self._language = language
            self._progress(language=language.code, language_confidence=language.confidence)
        return taken

    def _chunks(self, listener: Listener, rows: list[ChunkRow], complete: bool) -> Iterator[tuple[Chunk, int]]:
        """Stored chunks still to do, then new ones as they are planned (each stored before it is handed out).

        Last come those in flight when a job process died, each run alone: one of them may be what killed it, and
        its neighbours must not be blamed with it.
        """
        todo = [row for row in rows if row.state is ChunkState.PLANNED]
        for row in todo:
            if not row.crashes:
                yield Chunk.from_dict(row.plan), 0
        for chunk in listener.chunks():
            yield chunk, 0
        if complete and self.job.duration is None:  # the plan's own length holds: another decoder may find another
            self._known(listener.wait_decoded())
        for row in sorted(todo, key=lambda row: (row.crashes, row.index)):
            if row.crashes:
                yield Chunk.from_dict(row.plan), row.crashes

    def _store_chunks(self, chunks: Sequence[Chunk]) -> None:
        rows = [ChunkRow(index=chunk.index, plan=chunk.to_dict()) for chunk in chunks]
        self._patiently(lambda: self.parts.store.add(self.claim, rows))
        reached("after_plan")
        self._total = chunks[-1].index + 1
        self._speech += sum(chunk.speech_samples for chunk in chunks)
        self._heard += [region for chunk in chunks for region in chunk.regions]

    def _planned(self, decoded: DecodedAudio) -> None:
        """The whole file is decoded and planned: its size is known."""
        self._report.total = self._total
        log.info(
            "Planned %d chunks: %.1f s of audio, %.1f s of it speech",
            self._total,
            decoded.duration,
            self._speech / SAMPLE_RATE,
        )
        if left_out := self._regions.left_out(
            self._heard
        ):  # said before the plan is complete: nobody listens to it all again then
            self._warn(**notice(left_out).to_dict())
        self._known(decoded, chunks_total=self._total, speech_seconds=round(self._speech / SAMPLE_RATE, 3))

    def _known(self, decoded: DecodedAudio, **more: Any) -> None:
        for warning in decoded.warnings:
            self._warn(warning.code, warning.message)
        self._progress(duration=decoded.duration, **more)
        if self._on_duration:
            self._on_duration(decoded.duration)

    def _patiently(self, ask: Callable[[], Any]) -> Any:
        """A database that is away holds the run up, and undoes nothing of it, until the lease has run out."""
        delay = 0.2
        while True:
            try:
                return ask()
            except TransientError as error:
                log.warning("Not stored yet: %s", error.message)
                if self.lifeline.wait(delay):
                    raise
                delay = min(5.0, delay * 2)

    def _reap(self, running: set[Future[None]]) -> bool:
        """Wait a moment for chunks to end; returns whether one did."""
        done, _ = wait(running, timeout=0.25, return_when=FIRST_COMPLETED)
        for future in done:
            running.discard(future)
            future.result()
        if not self.lifeline.draining.is_set():
            self.lifeline.check()
        eta = self._report.eta(self.job.duration)
        if eta is not None:
            self._progress(eta_seconds=eta)
        return bool(done)

    # --- the end
    def _finish(self) -> None:
        parts = self.parts
        self.stage = Stage.MERGING
        self._progress(stage=Stage.MERGING, eta_seconds=0.0)
        reached("before_result")
        job = parts.store.get(self.job.id)
        rows = parts.store.rows(self.job.id)
        outcome = assemble(
            job,
            rows,
            language=self._language,
            model=self._model,
            ffmpeg=parts.ffmpeg.version,
            fail_share=parts.settings.chunk_fail_share,
            warnings=self._warnings,
            performance=self._report.performance(job, rows, self._detect_seconds),
        )
        # the fence is in the key: an owner whose lease was lost cannot overwrite the result of its successor
        key = result_key(job.id, self.claim.fence)
        data = json.dumps(to_result(outcome), ensure_ascii=False).encode()
        parts.objects.put(key, io.BytesIO(data), media_type="application/json")
        reached("after_result")
        parts.store.finish(
            self.claim,
            result_key=key,
            partial=bool(outcome.gaps),
            gaps=[gap.to_dict() for gap in outcome.gaps],
            warnings=[warning.to_dict() for warning in outcome.warnings],
            performance=outcome.performance,
        )
        reached("after_finish")
        self._report.end(rows, outcome.performance)

    # --- small things
    def is_set(self) -> bool:
        """Cancel flag of engine calls."""
        return self._abort.is_set() or self.lifeline.is_set()

    def _warn(self, code: str, message: str) -> None:
        if all(code != warning["code"] for warning in self._warnings):
            self._warnings.append({"code": code, "message": message})
            self._progress(warnings=tuple(self._warnings))

    def _progress(self, **fields: Any) -> None:
        self._patiently(lambda: self.parts.store.progress(self.claim, **fields))
        with self._lock:  # the plan thread learns things too
            self.job = self.job.evolve(**fields)
