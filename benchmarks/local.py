"""Jobs in this process, as `parascribe transcribe --local` runs them, with a look at their chunks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import made
from core.config.settings import Settings
from core.jobs.job import Job, JobStatus
from core.jobs.tasks import TRANSCRIBE
from core.speech.chunks import Chunk
from core.submission.intake import Intake
from core.system import identity
from parascribe.run.parts import make_parts, running_manager
from parascribe.run.wiring.engine import plan_of
from parascribe.run.wiring.stores import open_probe, open_store
from whisper.engine.transcriber import WhisperTranscriber
from whisper.library.libraries import Library
from whisper.types import Engine
from worker.context.parts import Parts
from worker.run import run_job
from worker.stop import Stop

Run = Callable[[Path], tuple[dict[str, Any], list[Chunk]]]
"""A file -> its result as JSON has it, and its chunks."""


@contextmanager
def runner(
    folder: Path, library: Library, model: Path, *, engine: Engine | None = None, **settings: Any
) -> Iterator[Run]:
    """engine: instead of the real one, for what has nothing to do with it."""
    with consumer(folder, library, model, engine=engine, **settings) as parts:
        yield lambda source: _run(parts, model, source)


@contextmanager
def consumer(
    folder: Path, library: Library, model: Path, *, engine: Engine | None = None, **settings: Any
) -> Iterator[Parts]:
    """One consumer's parts, without processes around it. Of several in one folder each has its own connections."""
    models, name = made.setting(model)
    conf = Settings(
        data_dir=folder / "data",
        whisper_models_dir=models,
        whisper_model=name,
        engine_dir=folder / "engine",
        whisper_library=library.directory,
        database_url=None,
        broker_url=None,
        minio_endpoint=None,
        whisper_executable=None,
        **{"engine_nice": 0, **settings},
    )
    models.mkdir(parents=True, exist_ok=True)
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700, exist_ok=True)
    with ExitStack() as stack:
        plan = plan_of(conf)
        if engine is None:
            stack.enter_context(running_manager(conf, runtime, plan))
        store = open_store(conf)
        stack.callback(store.close)
        parts = make_parts(conf, store, runtime, identity.new_consumer(), plan=plan)
        if engine is not None:
            parts = replace(parts, transcriber=WhisperTranscriber(engine, parts.transcriber.downloader))
        stack.callback(parts.transcriber.engine.close)
        yield parts


def submit(parts: Parts, source: Path, model: Path, **options: Any) -> Job:
    """A job that waits."""
    name = made.setting(model)[1]
    intake = Intake(objects=parts.objects, models=parts.models, default_model=name, probe=open_probe())
    with source.open("rb") as data:
        return intake.accept(parts.store, *intake.store(source.name, data), {"language": "en"} | options)


def work(parts: Parts) -> Job:
    """Work on the job whose turn it is; it as it has ended. Raises RuntimeError unless it is completed."""
    claim = parts.store.claim(owner=identity.owner(parts.consumer), consumer=parts.consumer, lease_seconds=3600.0)
    assert claim is not None
    run_job(parts, claim, Stop())
    ended = parts.store.get(claim.job.id)
    if ended.status is not JobStatus.COMPLETED or not ended.result_key:
        raise RuntimeError(f"the job ended as {ended.status}: {ended.error}")
    return ended


def _run(parts: Parts, model: Path, source: Path) -> tuple[dict[str, Any], list[Chunk]]:
    submit(parts, source, model)
    ended = work(parts)
    with parts.objects.open(ended.result_key or "") as data:
        return json.load(data), [Chunk.from_dict(row.plan or {}) for row in parts.store.tasks(ended.id, TRANSCRIBE)]
