"""Transcribe without a server: the very same job run, in this process, on a table and a store that live as long as it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from uuid_utils import uuid7

from core.config.settings import Settings
from core.errors import ServiceError, refusal
from core.jobs.job import Job, JobStatus
from core.jobs.params import JobParams
from core.jobs.workfolders import remove_dead, work_folder
from core.options import options
from core.store.sql import SqlStore
from core.submission.checks import check
from core.submission.intake import Intake
from core.system import identity
from parascribe.client.inputs import Steady, called, fault, opened
from parascribe.run.parts import make_parts, running_manager
from parascribe.run.runtime import private_folder
from parascribe.run.translators import open_translators
from parascribe.run.wiring.engine import enhancements, plan_of
from parascribe.run.wiring.models import open_models
from parascribe.run.wiring.stores import open_probe
from worker.run import run_job
from worker.stop import Stop

Progress = Callable[[Path, Job], None]


def transcribe_files(
    settings: Settings, paths: Sequence[Path], params: Mapping[str, Any], on_progress: Progress | None = None
) -> Generator[dict[str, Any], None, None]:
    """One after the other, each with all workers; yields a result body per file.

    A file that failed gives `{"error": {"code", "message", ...}}` instead. on_progress: called now and then with
    the job as it stands. Ctrl-C stops everything and passes through.
    params: as a service takes them, and refused for the same reasons.
    Raises ServiceError for what concerns all files (a parameter, an unknown model, no engine library).
    """
    models, translators = open_models(settings), open_translators(settings, None)
    check(
        JobParams,
        params,
        models,
        default_model=settings.whisper_model,
        defaults=settings.job_defaults,
        enhancements=enhancements(settings),
        translations=translators,
    )
    if served := [one.name for one in options(JobParams) if not one.about.heard and params.get(one.name) is not None]:
        raise refusal(*({"field": name, "message": "this is for jobs of a service"} for name in served))
    with contextlib.ExitStack() as stack:
        isolated = stack.enter_context(isolated_settings(settings))
        runtime = stack.enter_context(private_folder())
        store = SqlStore.in_memory()
        stack.callback(store.close)
        plan = plan_of(isolated)
        if isolated.whisper_executable is None:
            stack.enter_context(running_manager(isolated, runtime, plan))
        parts = make_parts(isolated, store, runtime, identity.new_consumer(), plan=plan)
        stack.callback(parts.transcriber.engine.close)
        intake = Intake(
            objects=parts.objects,
            models=models,
            default_model=settings.whisper_model,
            probe=open_probe(),
            defaults=settings.job_defaults,
        )
        for path in paths:
            try:
                with opened(path) as data:
                    name = called(path).name.encode(errors="replace").decode()  # which need not be valid Unicode
                    steady = Steady(data)
                    data.read(1)  # what says that it is empty may be unreadable
                    data.seek(0)
                    job_id, source = intake.store(name, cast(BinaryIO, steady))
                job = intake.accept(store, job_id, source, params)
            except ServiceError as error:
                yield {"error": {"code": error.code, "message": error.message}}
                continue
            except OSError as error:
                yield {"error": fault(error)}
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
            store.remove(job.id)  # one that was put off would be claimed in place of the next
            for key in filter(None, (job.source.key, job.samples_key)):  # a batch may be larger than what is free
                parts.objects.delete(key)
            if ended.status is JobStatus.COMPLETED and ended.result_key:
                with parts.objects.open(ended.result_key) as data:
                    result = json.load(data) | {"partial": ended.partial}
                parts.objects.delete(ended.result_key)
                yield result
            else:
                yield {
                    "error": ended.error.to_dict()
                    if ended.error
                    else {"code": ended.status.value, "message": ended.status.value}
                }


@contextlib.contextmanager
def isolated_settings(settings: Settings) -> Iterator[Settings]:
    """The same without a service's database, broker and bucket, in a folder for the time of the block. Raises ServiceError."""
    with _scratch(settings.work_path) as folder:
        settings.models_path.mkdir(parents=True, exist_ok=True)
        yield settings.model_copy(
            update={
                "data_dir": folder,
                "work_dir": folder / "work",
                "database_url": None,
                "broker_url": None,
                "minio_endpoint": None,
                "ingest_bucket": None,
                "whisper_models_dir": settings.models_path,
            }
        )


@contextlib.contextmanager
def _scratch(work: Path) -> Iterator[Path]:
    """A folder among those of running jobs, so that what a killed process leaves there is found. Raises ServiceError."""
    with contextlib.ExitStack() as stack:
        try:
            remove_dead(work)
            folder = stack.enter_context(work_folder(work, f"local-{uuid7()}", 0))
        except OSError as error:
            raise ServiceError(f"No work folder in {work} (WORK_DIR): {error.strerror}") from error
        yield folder


def _report(store: SqlStore, job_id: str, path: Path, on_progress: Progress | None, stop: Stop) -> None:
    pause = threading.Event()
    while on_progress and not stop.is_set():
        on_progress(path, store.get(job_id))
        pause.wait(0.2)
