"""The recording without noise, sample for sample where it was: for whoever the job wants to listen to that."""

from __future__ import annotations

import contextlib
import contextvars
import logging
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from core.audio.samples import SAMPLE_BYTES, Pcm
from core.audio.source_file import write_all
from core.errors import EngineUnavailable, Interrupted, ServiceError, TransientError
from core.jobs.tasks import Task
from core.speech.chunks import Chunk
from core.system.disk import disk_full
from core.system.retry import retry
from whisper.enhance.blocks import AFTER, STEP, Block, Joiner, block_at
from whisper.enhance.enhancer import Cleaned, Enhancer
from worker.context.stage import Output, Stage
from worker.context.work import Work

log = logging.getLogger(__name__)

ENHANCE = "enhance"

MOST_FAILED = 2
"""After so many blocks in a row that could not be cleaned no further one is tried."""


class EnhanceStage(Stage):
    """Writes behind the decoder into a spool of its own, which all read that the job's `enhance_for` says.

    It is not stored: blocks are cut at the same places each time and come out the same, and whoever takes the job over begins
    with the first that somebody still needs. What cannot be cleaned stays as it was recorded, with a warning.
    """

    name = ENHANCE
    needs = ("decode",)
    stored = False
    streams = True

    def wanted(self, work: Work) -> bool:
        params = work.job.params
        if not params.is_cleaned:
            return False
        return params.enhance_for != "speakers" or not work.plan.complete or _speakers_missing(work)

    def options(self, work: Work) -> Mapping[str, Any]:
        return {"enhance": work.job.params.enhance, "enhancer": version(work)}

    def run(self, work: Work, task: Task) -> Output:
        recording, cleaned = work.recording, work.cleaned
        try:
            cleaning, joiner = _Cleaning(work), Joiner()
            position = _first(work) // STEP * STEP
            blocks = contextlib.closing(cleaning.blocks(position))
            with disk_full(), cleaned.path.open("wb", buffering=0) as out, blocks as found:
                out.seek(position * SAMPLE_BYTES)
                for pcm in found:
                    settled = joiner.add(pcm)
                    write_all(out, settled.tobytes())
                    position += len(settled)
                    cleaned.grow(position)
                    recording.pause()
            assert recording.decoded is not None
            cleaned.finish(recording.decoded)
        except BaseException as error:
            cleaned.fail(error)
            raise
        work.unaccounted_seconds += cleaning.engine_seconds
        return Output()


def version(work: Work) -> str:
    """What cleans here; empty where nothing does."""
    return work.parts.enhancer.version if work.parts.enhancer else ""


def kept(chunks: Sequence[Task]) -> dict[str, int]:
    """Of chunks that were recognised from both sounds, from which how many texts were kept."""
    told = [
        bool(chunk.output["cleaned"]) for chunk in chunks if chunk.output and chunk.output.get("cleaned") is not None
    ]
    return {"cleaned": sum(told), "as_recorded": len(told) - sum(told)}


class _Cleaning:
    """One run over a recording."""

    def __init__(self, work: Work) -> None:
        self._work, self._enhancer = work, work.parts.enhancer
        self._failed = 0
        self.engine_seconds = 0.0
        if self._enhancer is None:
            self._warn("Nothing that could clean it is installed on the consumer that worked on it (extra `enhance`).")

    def blocks(self, position: int) -> Generator[Pcm]:
        """The blocks from there on, as many cleaned at once as there are workers."""
        recording, width = self._work.recording, self._work.parts.plan.workers
        ahead: deque[Future[Cleaned]] = deque()

        def oldest() -> Pcm:
            found = ahead.popleft().result()
            self._work.report.meter.engine(cpu=found.engine_seconds)
            self.engine_seconds += found.engine_seconds
            return found.pcm

        with ThreadPoolExecutor(width, thread_name_prefix=ENHANCE) as pool:
            try:
                while True:
                    needed = position + STEP + AFTER
                    while ahead and (len(ahead) >= width or not recording.has(needed)):
                        yield oldest()
                    recording.wait(needed)
                    if position >= recording.available:
                        break
                    block = block_at(position, recording.available)
                    ahead.append(pool.submit(contextvars.copy_context().run, self._block, block))
                    position += STEP
                while ahead:
                    yield oldest()
            finally:
                for future in ahead:
                    future.cancel()

    def _block(self, block: Block) -> Cleaned:
        pcm = self._work.recording.read(block.begin, block.until)
        as_it_is = Cleaned(pcm=block.of(pcm), engine_seconds=0.0)
        if self._enhancer is None or self._failed >= MOST_FAILED:
            return as_it_is
        try:
            found = self._asked(self._enhancer, pcm)
        except Exception as error:
            if isinstance(error, Interrupted) or self._work.cancel.is_set():
                raise
            if not isinstance(error, ServiceError):
                log.exception("Unexpected error in %s", ENHANCE)
                error = ServiceError("Something went wrong.")
            self._failed = MOST_FAILED if isinstance(error, EngineUnavailable) else self._failed + 1
            self._warn(error.message)
            return as_it_is
        self._failed = 0
        return replace(found, pcm=block.of(found.pcm))

    def _asked(self, enhancer: Enhancer, pcm: Pcm) -> Cleaned:
        """What is away for a moment costs some patience, as with stages that degrade."""
        work = self._work
        call = work.call(ENHANCE)
        return retry(
            lambda: enhancer.clean(pcm, call),
            pauses=work.parts.settings.backoff,
            retryable=lambda error: isinstance(error, TransientError) and not work.cancel.is_set(),
            wait=work.lease_keeper.wait,
        )

    def _warn(self, why: str) -> None:
        self._work.warn(f"{ENHANCE}_failed", f"Not all of the sound was cleaned; the rest was taken as it is. {why}")


def _speakers_missing(work: Work) -> bool:
    ended = any(task.stage == "diarize" and task.ended for task in work.stored)
    return work.job.params.diarize and not ended


def _first(work: Work) -> int:
    """The first sample that somebody still listens to."""
    if not work.plan.complete or _speakers_missing(work):
        return 0
    chunks = [Chunk.from_dict(task.plan or {}) for task in work.plan.tasks if not task.ended]
    return min((region.start for chunk in chunks for region in chunk.regions), default=0)
