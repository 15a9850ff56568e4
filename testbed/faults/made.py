"""Audio that costs nothing to make and to transcribe, and what the scripted engine hears in it."""

from __future__ import annotations

import hashlib
import io
import json
import wave
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from uuid_utils import uuid7

from core.audio import ffmpeg
from core.audio.decoder import Decoder
from core.audio.samples import SAMPLE_RATE
from core.jobs.job import Job, NewJob, Source
from core.jobs.params import JobParams
from core.objects.memory import MemoryObjects
from core.objects.store import ObjectStore, source_key
from core.store.sql import SqlStore
from core.submission.origins import Origins
from core.system import identity
from core.system.machine import Plan
from whisper import DATA, VAD_MODEL
from whisper.download.downloader import ModelDownloader
from whisper.engine.host_diarizer import TurnsDiarizer
from whisper.engine.scripted import ScriptedEngine
from whisper.engine.transcriber import WhisperTranscriber
from whisper.models.store import ModelStore
from whisper.speakers.scripted import ScriptedNetworks
from whisper.types import Engine
from whisper.vad.model import SileroModel
from whisper.vad.silero import SileroVad
from worker.context.parts import Parts, RunSettings
from worker.run import run_job
from worker.stop import Stop

CHUNK_SECONDS = 5.0
PLAN = Plan(workers=2, threads=1, jobs=1, parallel=True, cores=2, memory_mb=1000, reasons=(), warnings=())


TAIL = b"JUNK\0\0\0\0"
"""Behind the samples of a WAV file: makes it ffmpeg's (`core.audio.wav`)."""


@cache
def noise(seconds: int, seed: int = 1) -> bytes:
    """A WAV file in which the scripted engine hears one word per second."""
    pcm = (np.random.default_rng(seed).standard_normal(seconds * SAMPLE_RATE) * 3000).clip(-32768, 32767).astype("<i2")
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(pcm.tobytes())
    return out.getvalue() + TAIL


def parts(
    store: SqlStore, objects: ObjectStore, work: Path, engine: Engine, *, consumer: str = "test", **settings: Any
) -> Parts:
    """A consumer of this process, with the settings the rigs use too."""
    models = ModelStore(work.parent / "models", DATA / "models")
    run = RunSettings(
        work=work,
        lease_seconds=4,
        max_attempts=3,
        chunk_seconds=CHUNK_SECONDS,
        chunk_strategy="fixed",
        chunk_fail_share=0.5,
        max_audio_seconds=3600,
        shutdown_seconds=5,
        parallel=True,
        backoff=(0.05, 0.1, 0.2, 0.4),
    )
    return Parts(
        settings=replace(run, **settings),
        store=store,
        objects=objects,
        models=models,
        ffmpeg=_ffmpeg(),
        transcriber=WhisperTranscriber(engine, ModelDownloader(models)),
        diarizer=TurnsDiarizer(lambda call, quiet: ScriptedNetworks(), width=2),
        vad=partial(SileroVad, SileroModel.read(VAD_MODEL)),
        plan=PLAN,
        width=3,
        origins=Origins(objects=objects, upload_parts=store.upload_parts, streams=store.stream_audio),
        consumer=consumer,
    )


def submit(store: SqlStore, objects: ObjectStore, data: bytes, **params: Any) -> Job:
    """What the API does with an upload: object first, then the row."""
    job_id = str(uuid7())
    key = source_key(job_id)
    objects.put(key, io.BytesIO(data))
    source = Source(
        filename="a.wav", bytes=len(data), media_type="audio/wav", sha256=hashlib.sha256(data).hexdigest(), key=key
    )
    return store.create(NewJob(id=job_id, source=source, params=JobParams(**{"model": "demo"} | params)))


_HEARD: dict[bytes, str] = {}
_DECODED: dict[bytes, bytes] = {}
_ffmpeg = cache(ffmpeg.find)
_calm = cache(SqlStore.in_memory)
"""For all runs of this process in which nothing goes wrong: the second one finds its statements compiled."""


def heard(folder: Path, data: bytes) -> str:
    """The text of a run in which nothing goes wrong; of the same data it is made once. folder: a scratch one."""
    if data not in _HEARD:
        store, objects = _calm(), MemoryObjects()
        (folder / "work").mkdir(parents=True, exist_ok=True)
        lease = 600  # outlives a machine that stands still
        made = parts(store, objects, folder / "work", ScriptedEngine(), lease_seconds=lease)
        job = submit(store, objects, data)
        claim = store.claim(owner=identity.owner("calm"), consumer="calm", lease_seconds=lease)
        assert claim is not None and claim.job.id == job.id
        assert run_job(made, claim, Stop()) == "completed"
        key = store.get(job.id).result_key
        assert key is not None
        with objects.open(key) as body:
            text: str = json.load(body)["text"]
        assert len(text.split()) > (len(data) - 44) // 2 // SAMPLE_RATE * 0.8, "about one word per second"
        _HEARD[data] = text
    return _HEARD[data]


def decoded(folder: Path, data: bytes) -> bytes:
    """The samples as a decode in which nothing goes wrong gives them. folder: a scratch one."""
    if data not in _DECODED:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "decoded.wav").write_bytes(data)
        Decoder(_ffmpeg(), max_seconds=3600).decode(folder / "decoded.wav", folder / "decoded.pcm")
        _DECODED[data] = (folder / "decoded.pcm").read_bytes()
    return _DECODED[data]
