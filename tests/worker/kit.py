"""A job run with real ffmpeg, real VAD and real tables, and an engine that follows a script."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from uuid_utils import uuid7

from core.audio import ffmpeg
from core.jobs.job import Job, JobParams, NewJob, Source
from core.jobs.tasks import TRANSCRIBE, Task
from core.objects.memory import MemoryObjects
from core.objects.store import source_key
from core.store.sql import SqlStore
from core.submission.origins import Origins
from core.system import identity
from core.system.machine import Plan
from testbed import audio_bank
from whisper import DATA, VAD_MODEL
from whisper.download.downloader import ModelDownloader
from whisper.engine.host_diarizer import TurnsDiarizer
from whisper.engine.scripted import Rule, ScriptedEngine
from whisper.engine.transcriber import WhisperTranscriber
from whisper.models.store import ModelStore
from whisper.speakers.scripted import ScriptedNetworks
from whisper.vad.model import SileroModel
from whisper.vad.silero import SileroVad
from worker.context.lease_keeper import cancel_flag
from worker.context.parts import Parts, RunSettings
from worker.context.stage import Stage
from worker.run import STAGES, run_job
from worker.stop import Stop

PLAN = Plan(workers=2, threads=1, jobs=1, parallel=True, cores=2, memory_mb=1000, reasons=(), warnings=())


class Kit:
    """One consumer without processes around it. `calls` counts the engine's executions by chunk number."""

    def __init__(self, folder: Path, *rules: Rule, delay: float = 0.0, language: str = "en", **settings: Any) -> None:
        self.folder = folder
        self.store = SqlStore.in_memory()
        self.objects = MemoryObjects()
        self.call_log = folder / "calls"
        models = ModelStore(folder / "models", DATA / "models")
        run = RunSettings(
            work=folder / "work",
            lease_seconds=30,
            max_attempts=3,
            chunk_seconds=8,
            chunk_strategy="vad",
            chunk_fail_share=0.5,
            max_audio_seconds=3600,
            shutdown_seconds=5,
            parallel=True,
            backoff=(0.01, 0.01),
        )
        (run.work / "cancel").mkdir(parents=True)
        self.parts = Parts(
            settings=replace(run, **settings),
            store=self.store,
            objects=self.objects,
            models=models,
            ffmpeg=ffmpeg.find(),
            transcriber=WhisperTranscriber(
                ScriptedEngine(delay=delay, language=language, rules=rules, call_log=self.call_log),
                ModelDownloader(models),
            ),
            diarizer=TurnsDiarizer(lambda call, quiet: ScriptedNetworks(), width=2),
            vad=partial(SileroVad, SileroModel.read(VAD_MODEL)),
            plan=PLAN,
            width=3,
            consumer="test",
            origins=Origins(
                objects=self.objects, upload_parts=self.store.upload_parts, streams=self.store.stream_audio
            ),
        )
        self.stages: Sequence[Stage] = STAGES
        self.stop = Stop()

    def script(self, *rules: Rule, delay: float = 0.0) -> None:
        """Another engine from now on, with the same call log."""
        engine = ScriptedEngine(delay=delay, rules=rules, call_log=self.call_log)
        self.parts = replace(self.parts, transcriber=WhisperTranscriber(engine, self.parts.transcriber.downloader))

    def submit(self, data: bytes, *, retry_of: str | None = None, **params: Any) -> Job:
        job_id = str(uuid7())
        key = source_key(job_id)
        self.objects.put(key, io.BytesIO(data))
        source = Source(
            filename="talk.wav",
            bytes=len(data),
            media_type="audio/wav",
            sha256=hashlib.sha256(data).hexdigest(),
            key=key,
        )
        return self.store.create(
            NewJob(id=job_id, source=source, params=JobParams(**{"model": "demo"} | params), retry_of=retry_of)
        )

    def run(self) -> str:
        """Claim whichever job waits and run it; returns how it went."""
        claim = self.store.claim(owner=identity.owner("test"), consumer="test", lease_seconds=30)
        assert claim is not None, "no job waits"
        return run_job(self.parts, claim, self.stop, stages=self.stages)

    def run_until(self, job: Job, chunks: int, *, planned: bool = False) -> str:
        """Run, and ask to stop as soon as so many chunks are done. planned: and all of them are planned"""
        self.stop = Stop()

        def watch() -> None:
            soon(lambda: self.chunks_done(job) >= chunks and not (planned and self.job(job).chunks_total is None))
            self.stop.set()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        outcome = self.run()
        self.stop = Stop()
        return outcome

    def chunks(self, job: Job) -> list[Task]:
        return self.store.tasks(job.id, TRANSCRIBE)

    def chunks_done(self, job: Job) -> int:
        """As the table has it; the job's row is told once a second."""
        return sum(task.ended for task in self.chunks(job))

    def cancel(self, job: Job) -> None:
        """As the API and the supervisor do together."""
        self.store.request_cancel(job.id)
        cancel_flag(self.parts.settings.work, job.id).touch()

    def job(self, job: Job) -> Job:
        return self.store.get(job.id)

    def result(self, job: Job) -> dict[str, Any]:
        key = self.job(job).result_key
        assert key is not None
        with self.objects.open(key) as data:
            return json.load(data)

    @property
    def calls(self) -> list[str]:
        """The executed chunks' labels, without totals (which are unknown while decoding)."""
        lines = self.call_log.read_text().splitlines() if self.call_log.exists() else []
        return [json.loads(line)["label"].split("/")[0] for line in lines]


def soon(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    """Return when it has come true; or when it has not for so long, for whoever waits beside a run must end that."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)


def talk(folder: Path, *, minutes: float = 1.0, seed: int = 41, **spec: Any) -> bytes:
    pcm, _ = audio_bank.speech(minutes=minutes, seed=seed, **spec)
    return audio_bank.write(folder / "talk.wav", pcm).read_bytes()
