"""Who speaks when, beside the transcription; the words get their speakers when the transcript is put together."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from core.audio.samples import Pcm
from core.jobs.job import Phase
from core.jobs.tasks import Task
from core.transcript.speakers.turns import Turn
from whisper.speakers.diarizer import Diarization
from whisper.speakers.voices import SpeakerBounds
from worker.context.recording import Recording
from worker.context.stage import OnFailure, Output, Stage
from worker.context.work import Work

log = logging.getLogger(__name__)

DIARIZE = "diarize"

TOLD = 0.1
"""Share of the work after which the log says so again."""


class DiarizeStage(Stage):
    """While words are still being recognised it has only the cores that nobody else wants: a transcript never comes later for it
    than its speakers do."""

    name = DIARIZE
    needs = ("decode",)
    on_failure = OnFailure.DEGRADE

    def wanted(self, work: Work) -> bool:
        return work.job.params.diarize

    def ready(self, work: Work, task: Task) -> bool:
        return work.parts.settings.diarize_beside or _transcribed(work)

    def options(self, work: Work) -> Mapping[str, Any]:
        params = work.job.params
        return {
            "diarizer": work.parts.diarizer.version,
            "speakers": [params.num_speakers, params.min_speakers, params.max_speakers],
        }

    def run(self, work: Work, task: Task) -> Output:
        work.recording.wait(1)
        channels = work.recording.channels
        turns: list[list[float]] = []
        voices: list[list[float]] = []
        for number in range(channels.count) if channels else (None,):
            # it is known of all from the second on: the first was listened to up to its end
            if channels and number and not channels.is_apart(number, work.recording.available):
                continue
            found = self._listen(work, number)
            where = [] if number is None else [number]
            turns += ([round(t.start, 4), round(t.end, 4), len(voices) + t.voice, *where] for t in found.turns)
            voices += ([round(float(one), 5) for one in voice] for voice in found.voices)
        return Output(data={"turns": turns, "voices": voices})

    def _listen(self, work: Work, channel: int | None) -> Diarization:
        told = [0.0]

        def tell(share: float) -> None:
            if _transcribed(work):
                work.show(Phase.DIARIZING)
            if share - told[0] >= TOLD:
                told[0] = share
                log.info("Speakers: %.0f%%", 100 * share)

        found = work.parts.diarizer.diarize(
            _Growing(work.recording, channel),
            _bounds(work, channel),
            work.call("speakers"),
            quiet=lambda: not _transcribed(work),
            tell=tell,
        )
        log.info("Speakers: %d voices, %d turns", len(found.voices), len(found.turns))
        return found


def turns_of(task: Task) -> list[Turn]:
    """What a finished task of this stage has found."""
    return [
        Turn(start=start, end=end, voice=voice, channel=where[0] if where else None)
        for start, end, voice, *where in (task.output or {})["turns"]
    ]


def _bounds(work: Work, channel: int | None) -> SpeakerBounds:
    """How many speak in the recording; in one of its channels that many at most."""
    params = work.job.params
    if channel is not None:
        return SpeakerBounds(most=params.num_speakers or params.max_speakers or SpeakerBounds.most)
    return SpeakerBounds(
        least=params.min_speakers or 1, most=params.max_speakers or SpeakerBounds.most, exact=params.num_speakers
    )


def _transcribed(work: Work) -> bool:
    """Whether all chunks have been, as far as the job's row says."""
    job = work.job
    return job.chunks_total is not None and job.chunks_done >= job.chunks_total


class _Growing:
    """The recording, or one channel of it, as diarizers read it."""

    def __init__(self, recording: Recording, channel: int | None) -> None:
        self._recording, self._channel = recording, channel

    def length(self, at_least: int) -> int:
        self._recording.wait(at_least)
        return self._recording.available

    def read(self, start: int, end: int) -> Pcm:
        return self._recording.read(start, end, self._channel)
