"""From samples to chunks: where there is speech, and where it can be cut. Each chunk is stored before it is worked on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from core.audio.samples import SAMPLE_RATE
from core.jobs.tasks import TRANSCRIBE, Task
from core.speech.chunks import Chunk
from core.speech.planner import PLANNER_VERSION, ChunkPlanner
from core.speech.strategies import region_source
from core.speech.uncertain_speech import notice
from core.system.crashpoints import reached
from worker.context.stage import Output, Stage
from worker.context.work import Work

log = logging.getLogger(__name__)

BLOCK = 512 * 64
"""Samples per VAD block: 2 s; a multiple of Silero's 512, so that blocks equal one pass."""


class PlanStage(Stage):
    """Reads behind the decoder; chunks come out while both still run.

    What lies between the stages is bounded by MAX_AUDIO_HOURS: the spool on disk, and the chunks' positions (some
    hundred bytes each). So planning never waits for the engine, and a job's size is known as soon as it is decoded.
    """

    name = "plan"
    needs = ("decode", "enhance")
    stored = False
    streams = True

    def wanted(self, work: Work) -> bool:
        return not work.plan.complete

    def options(self, work: Work) -> Mapping[str, Any]:
        settings = work.parts.settings
        return {"planner": PLANNER_VERSION, "chunk_seconds": work.chunk_seconds, "strategy": settings.chunk_strategy}

    def run(self, work: Work, task: Task) -> Output:
        settings, recording = work.parts.settings, work.for_speakers
        regions = region_source(settings.chunk_strategy, work.parts.vad().feed)
        stored = [Chunk.from_dict(one.plan or {}) for one in work.plan.tasks]
        planner = ChunkPlanner(
            int(work.chunk_seconds * SAMPLE_RATE),
            quietest=regions.quietest,
            finds_speech=regions.finds_speech,
            start=stored[-1].end if stored else 0,
            first_index=len(stored),
        )
        chunks = stored
        position = 0
        while not work.cancel.is_set():
            recording.wait(position + BLOCK)
            end = min(position + BLOCK, recording.available)
            if end == position and recording.decoded is not None:
                break
            if end - position < BLOCK and recording.decoded is None:
                continue
            chunks += self._store(work, planner.feed(regions.feed(recording.read(position, end))))
            position = end
            work.recording.pause()
        work.check()
        chunks += self._store(work, planner.feed(regions.finish()))
        chunks += self._store(work, planner.finish(position))
        # said before the plan is complete: nobody listens to it all again then
        if left_out := regions.left_out([region for chunk in chunks for region in chunk.regions]):
            work.warn(**notice(left_out).to_dict())
        speech = sum(chunk.speech_samples for chunk in chunks) / SAMPLE_RATE
        log.info("Planned %d chunks: %.1f s of audio, %.1f s of it speech", len(chunks), position / SAMPLE_RATE, speech)
        assert recording.decoded is not None
        work.learn_duration(recording.decoded.duration, chunks_total=len(chunks), speech_seconds=round(speech, 3))
        work.plan.close()
        return Output()

    def _store(self, work: Work, chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        if chunks:
            tasks = [
                Task(
                    stage=TRANSCRIBE,
                    number=chunk.index,
                    plan=chunk.to_dict(),
                    identity=work.identities[TRANSCRIBE],
                    audio_seconds=(chunk.end - chunk.start) / SAMPLE_RATE,
                )
                for chunk in chunks
            ]
            work.upload.verify()  # a retry takes the plan over, and the file may have been restored by then
            work.patiently(lambda: work.parts.store.plan(work.claim, tasks))
            reached("after_plan")
            work.recording.planned = chunks[-1].index + 1
            work.plan.add(tasks)
        return chunks
