"""Two stages that exist only in tests: one beside the transcription, one for each finished segment of it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from core.jobs.tasks import Task
from worker.context.stage import Grain, Lane, OnFailure, Output, Place, Stage
from worker.context.work import Work

BLOCK = 16_000


class _Logged(Stage):
    """Notes each execution in a file, as the scripted engine does."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def note(self, work: Work, task: Task) -> None:
        line = f"{work.job.id} {task.stage} {task.number}\n".encode()
        file = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, line)
        os.close(file)


class Fingerprint(_Logged):
    """Reads along while the file is decoded: SHA-256 of its samples."""

    name = "fingerprint"
    needs = ("decode",)
    on_failure = OnFailure.DEGRADE

    def run(self, work: Work, task: Task) -> Output:
        self.note(work, task)
        recording, digest, position = work.recording, hashlib.sha256(), 0
        while True:
            recording.wait(position + BLOCK)
            end = min(position + BLOCK, recording.available)
            if end == position and recording.decoded is not None:
                return Output(data={"sha256": digest.hexdigest(), "samples": position})
            digest.update(recording.read(position, end).tobytes())
            position = end


class Shout(_Logged):
    """The text of a segment in capitals: stands for a translation."""

    name = "shout"
    needs = ("transcribe",)
    grain = Grain.SEGMENT
    lane = Lane.IO
    place = Place.ANYWHERE

    def run(self, work: Work, task: Task) -> Output:
        self.note(work, task)
        return Output(data={"text": work.segments[task.number].text.upper()})
