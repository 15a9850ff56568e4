"""Who speaks when, beside the transcription; the words get their speakers when the transcript is put together."""

from __future__ import annotations

import contextlib
import io
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from core.audio.samples import Pcm
from core.errors import ServiceError
from core.jobs.job import Phase
from core.jobs.tasks import Task, TaskState
from core.objects.store import CHECKPOINT, checkpoint_prefix, job_folder
from core.transcript.speakers.turns import Turn
from whisper.speakers.diarizer import Diarization
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
WRITE_SECONDS = 0.5
"""Progress is written to the job's row at most so often."""


class DiarizeStage(Stage):
    """While words are still being recognised it has only the cores that nobody else wants: a transcript never comes later for it
    than its speakers do."""

    name = DIARIZE
    needs = ("decode", "enhance")
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
        embedding = ""
        tell = _Progress(work)
        for number in range(channels.count) if channels else (None,):
            # it is known of all from the second on: the first was listened to up to its end
            if channels and number and not channels.is_apart(number, work.recording.available):
                continue
            found = self._listen(work, task, number, _share(tell, number or 0, channels.count if channels else 1))
            where = [] if number is None else [number]
            turns += ([round(t.start, 4), round(t.end, 4), len(voices) + t.voice, *where] for t in found.turns)
            voices += ([round(float(one), 5) for one in voice] for voice in found.voices)
            embedding = found.embedding
        return Output(data={"turns": turns, "voices": voices, "embedding": embedding})

    def _listen(self, work: Work, task: Task, channel: int | None, tell: Callable[[float], object]) -> Diarization:
        identity = task.identity or work.identities[self.name]
        found = work.parts.diarizer.diarize(
            _Growing(work.for_speakers, channel),
            _bounds(work, channel),
            work.call("speakers"),
            quiet=lambda: not _transcribed(work),
            tell=tell,
            checkpoints=_Checkpoints(work, identity if channel is None else f"{identity}.{channel}"),
        )
        log.info("Speakers: %d voices, %d turns", len(found.voices), len(found.turns))
        return found


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


def forget_checkpoints(work: Work) -> None:
    """Once the job has ended. What is left behind where that fails, the sweeper finds."""
    with contextlib.suppress(ServiceError):
        for key in list(work.parts.objects.keys(job_folder(work.job.id) + CHECKPOINT)):
            work.parts.objects.delete(key)


class _Checkpoints:
    """Objects in the job's folder; one that cannot be stored or read costs work after a crash, and nothing else."""

    def __init__(self, work: Work, identity: str) -> None:
        self._objects = work.parts.objects
        job = work.job
        self._own = checkpoint_prefix(job.id, identity)
        self._there: dict[str, str] = {}
        before = [job.retry_of] if job.retry_of and not job.retry_all else []
        # of a first owner too: the stage may have been begun before, and stopped by what was away for a moment
        with contextlib.suppress(ServiceError):
            for prefix in (*(checkpoint_prefix(old, identity) for old in before), self._own):
                self._there |= {key.removeprefix(prefix): key for key in self._objects.keys(prefix)}

    def load(self, name: str) -> bytes | None:
        key = self._there.get(name)
        if key is None:
            return None
        try:
            with self._objects.open(key) as data:
                return data.read()
        except (KeyError, ServiceError):
            return None

    def save(self, name: str, data: bytes) -> None:
        try:
            self._objects.put(self._own + name, io.BytesIO(data))
        except ServiceError as error:
            log.warning("Speakers: not stored how far this is: %s", error.message)


class _Progress:
    """What is done, as users see it and the log tells it."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._logged = self._written = 0.0
        self._alone: tuple[float, float] | None = None
        """When the words were done, and what was then."""

    def __call__(self, share: float) -> None:
        work, now = self._work, time.monotonic()
        if work.recording.decoded is None:
            return  # nobody knows yet of how much that is a share
        if share - self._logged >= TOLD:
            self._logged = share
            log.info("Speakers: %.0f%%", 100 * share)
        if now - self._written < WRITE_SECONDS:
            return
        self._written = now
        diarized = max(round(share, 3), work.job.diarized or 0.0)  # it may go on from where another has been
        if not _transcribed(work):
            work.learn(diarized=diarized)
            return
        self._alone = self._alone or (now, share)
        began, before = self._alone
        pace = (now - began) / (share - before) if share > before else None
        eta = None if pace is None else round(pace * (1.0 - share), 1)
        work.show(Phase.DIARIZING, diarized=diarized, eta_seconds=eta)


def _share(tell: Callable[[float], object], number: int, of: int) -> Callable[[float], object]:
    """Tells of one channel's work as a part of the whole."""
    return lambda share: tell((number + share) / of)


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
