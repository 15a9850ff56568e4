"""Transcribe without a server: the very same job run, in this process, on a table and a store that live as long as it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from uuid_utils import uuid7

from core import identity
from core.config import Settings, runtime_dir
from core.errors import EmptyUpload, ServiceError, TaskNotSupported
from core.jobs import Job, JobParams, JobStatus, NewJob, Source
from core.objects import source_key
from core.sniff import sniff
from core.store.sql import SqlStore
from parascribe.parts import make_parts, running_manager
from parascribe.supervisor import private_folder
from worker.run import run_job
from worker.stop import Stop

Progress = Callable[[Path, Job], None]


def transcribe_files(
    settings: Settings, paths: Sequence[Path], params: Mapping[str, Any], on_progress: Progress | None = None
) -> Generator[dict[str, Any], None, None]:
    """One after the other, each with all workers; yields a result body per file.

    A file that failed gives `{"error": {"code", "message", ...}}` instead. on_progress: called now and then with
    the job as it stands. Ctrl-C stops everything and passes through.
    Raises ServiceError for what concerns all files (unknown model, no engine library).
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="parascribe-local-")))
        runtime = stack.enter_context(private_folder(lambda: runtime_dir(settings)))
        settings.models_path.mkdir(parents=True, exist_ok=True)
        isolated = settings.model_copy(update={
            "data_dir": folder, "work_dir": settings.work_dir or folder / "work", "database_url": None, "broker_url": None,
            "minio_endpoint": None, "whisper_models_dir": settings.models_path,
        })  # fmt: skip
        store = SqlStore.in_memory()
        stack.callback(store.close)
        if isolated.whisper_executable is None:
            stack.enter_context(running_manager(isolated, runtime))
        parts = make_parts(isolated, store, runtime, identity.new_consumer())
        stack.callback(parts.transcriber.engine.close)
        chosen = JobParams(**{"model": settings.whisper_model} | dict(params))
        info = parts.models.info(chosen.model)
        if chosen.task == "translate" and not info.translates:
            raise TaskNotSupported(f"The model {chosen.model} cannot translate.")
        for path in paths:
            try:
                job = store.create(_new_job(parts.objects, path, chosen))
            except ServiceError as error:
                yield {"error": {"code": error.code, "message": error.message}}
                continue
            stop = Stop()
            watcher = threading.Thread(target=_report, args=(store, job.id, path, on_progress, stop), daemon=True)
            watcher.start()
            claim = store.claim(owner=identity.owner(parts.consumer), consumer=parts.consumer, lease_seconds=3600.0)
            assert claim is not None
            try:
                run_job(parts, claim, Stop())
            finally:
                stop.set()
                watcher.join()
            ended = store.get(job.id)
            if on_progress:
                on_progress(path, ended)
            if ended.status is JobStatus.COMPLETED and ended.result_key:
                with parts.objects.open(ended.result_key) as data:
                    result = json.load(data) | {"partial": ended.partial}
                yield result
            else:
                yield {"error": ended.error.to_dict() if ended.error else {"code": ended.status.value, "message": ended.status.value}}


def _new_job(objects: Any, path: Path, params: JobParams) -> NewJob:
    job_id = str(uuid7())
    with path.open("rb") as data:
        head = data.read(1 << 16)
        if not head:
            raise EmptyUpload
        media_type = sniff(head, path.name)
        data.seek(0)
        size = objects.put(source_key(job_id), data, media_type=media_type)
        data.seek(0)
        digest = hashlib.file_digest(data, "sha256").hexdigest()
    source = Source(filename=path.name, bytes=size, media_type=media_type, sha256=digest, key=source_key(job_id))
    return NewJob(id=job_id, source=source, params=params)


def _report(store: SqlStore, job_id: str, path: Path, on_progress: Progress | None, stop: Stop) -> None:
    pause = threading.Event()
    while on_progress and not stop.is_set():
        on_progress(path, store.get(job_id))
        pause.wait(0.2)
