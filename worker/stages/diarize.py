"""Who speaks when, beside the transcription; the words get their speakers when the transcript is put together."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from core.audio.samples import Pcm
from core.jobs.job import Phase
from core.jobs.tasks import Task, TaskState
from core.transcript.speakers.turns import Turn
from whisper.speakers.known import matches
from whisper.speakers.voices import SpeakerBounds
from worker.context.recording import Recording
from worker.context.samples import known_of
from worker.context.stage import OnFailure, Output, Stage
from worker.context.work import Work

log = logging.getLogger(__name__)

DIARIZE, KNOWN = "diarize", "known_speakers"

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
        params = work.job.params
        bounds = SpeakerBounds(
            least=params.min_speakers or 1, most=params.max_speakers or SpeakerBounds.most, exact=params.num_speakers
        )
        told = [0.0]

        def tell(share: float) -> None:
            if _transcribed(work):
                work.show(Phase.DIARIZING)
            if share - told[0] >= TOLD:
                told[0] = share
                log.info("Speakers: %.0f%%", 100 * share)

        found = work.parts.diarizer.diarize(
            _Growing(work.recording), bounds, work.call("speakers"), quiet=lambda: not _transcribed(work), tell=tell
        )
        log.info("Speakers: %d voices, %d turns", len(found.voices), len(found.turns))
        return Output(
            data={
                "turns": [[round(turn.start, 4), round(turn.end, 4), turn.voice] for turn in found.turns],
                "voices": [[round(float(one), 5) for one in voice] for voice in found.voices],
                "embedding": found.embedding,
            }
        )


class KnownSpeakersStage(Stage):
    """Which of the voices are those of people who are known: what they are called."""

    name = KNOWN
    needs = (DIARIZE,)
    on_failure = OnFailure.DEGRADE

    def wanted(self, work: Work) -> bool:
        return work.job.params.diarize and bool(work.job.params.known_speakers)

    def options(self, work: Work) -> Mapping[str, Any]:
        return {"known_speakers": work.job.params.known_speakers}

    def run(self, work: Work, task: Task) -> Output:
        output = next((found.output for found in work.tasks(DIARIZE) if found.state is TaskState.DONE), None)
        if not output or not output["voices"]:
            return Output(data={"names": [], "remarks": []})
        voices = np.array(output["voices"], np.float32)
        known = known_of(work, output.get("embedding", ""))
        found = matches(voices, known.names, known.vectors)
        log.info("Speakers: %d of %d known ones are among %d voices", len(found.names), len(known.names), len(voices))
        again = [
            f"{name}: more than one voice sounds like that; the most alike has the name"
            for name in found.again.values()
        ]
        return Output(
            data={
                "names": [[voice, name] for voice, name in sorted(found.names.items())],
                "remarks": known.remarks + again,
            }
        )


def names_of(tasks: Iterable[Task]) -> tuple[dict[int, str], str]:
    """What voices are called after the tasks of `KnownSpeakersStage`, and what is to be said of it."""
    done = [task.output or {} for task in tasks if task.state is TaskState.DONE]
    names = {voice: name for output in done for voice, name in output["names"]}
    return names, "; ".join(remark for output in done for remark in output["remarks"])


def turns_of(task: Task) -> list[Turn]:
    """What a finished task of this stage has found."""
    return [Turn(start=start, end=end, voice=voice) for start, end, voice in (task.output or {})["turns"]]


def _transcribed(work: Work) -> bool:
    """Whether all chunks have been, as far as the job's row says."""
    job = work.job
    return job.chunks_total is not None and job.chunks_done >= job.chunks_total


class _Growing:
    """The recording, as diarizers read it."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def length(self, at_least: int) -> int:
        self._recording.wait(at_least)
        return self._recording.available

    def read(self, start: int, end: int) -> Pcm:
        return self._recording.read(start, end)
