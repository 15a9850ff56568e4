"""From samples to chunks: where there is speech, and where it can be cut. Each chunk is stored before it is worked on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from core.audio.samples import SAMPLE_RATE
from core.jobs.tasks import TRANSCRIBE, Task
from core.speech.chunks import Chunk, in_one_row
from core.speech.planner import PLANNER_VERSION, ChunkPlanner
from core.speech.strategies import region_source
from core.speech.uncertain_speech import QUIET_SPEECH, notice
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
        recording = work.for_speakers
        recording.wait(1)
        numbers: Sequence[int | None] = range(recording.channels.count) if recording.channels else [None]
        channels = [_Channel(work, number) for number in numbers]
        position = 0
        while not work.cancel.is_set():
            recording.wait(position + BLOCK)
            end = min(position + BLOCK, recording.available)
            if end == position and recording.decoded is not None:
                break
            if end - position < BLOCK and recording.decoded is None:
                continue
            planned = [channel.feed(position, end) for channel in channels]
            self._store(work, planned, hears_from=min(channel.hears_from() for channel in channels))
            position = end
            work.recording.pause()
        work.check()
        assert recording.decoded is not None
        # of a stream that became a job the plan so far may have been made by another decoder: its length holds
        total = max([position, *(chunk.end for channel in channels for chunk in channel.chunks)])
        self._store(work, [channel.finish(total) for channel in channels], hears_from=total)
        # said before the plan is complete: nobody listens to it all again then
        if left_out := [text for channel in channels if (text := channel.left_out())]:
            work.warn(QUIET_SPEECH, " ".join(left_out))
        chunks = [chunk for channel in channels for chunk in channel.chunks]
        speech = sum(chunk.speech_samples for chunk in chunks) / SAMPLE_RATE
        log.info("Planned %d chunks: %.1f s of audio, %.1f s of it speech", len(chunks), position / SAMPLE_RATE, speech)
        duration = recording.decoded.duration if total == position else total / SAMPLE_RATE
        work.learn_duration(duration, chunks_total=len(chunks), speech_seconds=round(speech, 3))
        work.plan.close()
        return Output()

    def _store(self, work: Work, planned: Sequence[Sequence[Chunk]], *, hears_from: int) -> None:
        """planned: by channel; hears_from: no chunk that is planned later hears anything before"""
        chunks = in_one_row(planned, first=len(work.plan.tasks), hears_from=hears_from)
        if chunks:
            tasks = [
                Task(
                    stage=TRANSCRIBE,
                    number=chunk.index,
                    plan=chunk.to_dict(),
                    identity=work.identities[TRANSCRIBE],
                    audio_seconds=(chunk.end - chunk.start) / SAMPLE_RATE / len(planned),
                )
                for chunk in chunks
            ]
            work.upload.verify()  # a retry takes the plan over, and the file may have been restored by then
            work.patiently(lambda: work.parts.store.plan(work.claim, tasks))
            reached("after_plan")
            work.recording.planned = chunks[-1].index + 1
            work.plan.add(tasks)


class _Channel:
    """The plan of one channel, or of the mixed sound (None), as if there were no other.

    As long as a channel is the same as one before it, it counts as silent: what is said there has been heard.
    """

    def __init__(self, work: Work, number: int | None) -> None:
        settings = work.parts.settings
        self._recording, self._number = work.for_speakers, number
        self._regions = region_source(settings.chunk_strategy, work.parts.vad().feed)
        stored = [Chunk.from_dict(one.plan or {}) for one in work.plan.tasks]
        self.chunks = [chunk for chunk in stored if chunk.channel == number]
        self._planner = ChunkPlanner(
            int(work.chunk_seconds * SAMPLE_RATE),
            quietest=self._regions.quietest,
            finds_speech=self._regions.finds_speech,
            start=self.chunks[-1].end if self.chunks else 0,
            first_index=len(self.chunks),
        )
        self._apart = not number
        self._copied = 0
        """Samples of a copy of another channel that nobody has looked at."""

    def feed(self, start: int, end: int) -> list[Chunk]:
        """The chunks that are certain now that the samples up to `end` are there."""
        if not self._is_apart(end):
            self._copied = end
            return []
        planned = []
        for at in range(0, self._copied, BLOCK):
            silence = np.zeros(min(BLOCK, self._copied - at), np.int16)
            planned += self._planner.feed(self._regions.feed(silence))
        self._copied = 0
        planned += self._planner.feed(self._regions.feed(self._recording.read(start, end, self._number)))
        return self._kept(planned)

    def finish(self, end: int) -> list[Chunk]:
        """The rest: the recording ends there."""
        planned = self._planner.feed(self._regions.finish()) + self._planner.finish(end)
        if not self._apart:
            planned = [replace(chunk, speech=None) for chunk in planned]  # nobody looked
        return self._kept(planned)

    def hears_from(self) -> int:
        """No chunk to come hears anything before."""
        return self._planner.hears_from(self._regions.settled() if self._apart else self._copied)

    def left_out(self) -> str:
        """What is to be said of what may be speech and is in no chunk; "" if there is nothing."""
        left_out = self._regions.left_out([region for chunk in self.chunks for region in chunk.regions])
        if not left_out:
            return ""
        where = "" if self._number is None else f"Channel {self._number}: "
        return where + notice(left_out).message

    def _is_apart(self, end: int) -> bool:
        channels, number = self._recording.channels, self._number
        self._apart = self._apart or (channels is not None and channels.is_apart(number or 0, end))
        return self._apart

    def _kept(self, planned: list[Chunk]) -> list[Chunk]:
        planned = [replace(chunk, channel=self._number) for chunk in planned]
        self.chunks += planned
        return planned
