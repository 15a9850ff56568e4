"""Rows of the tables as the values of `core.jobs.job`, and what the roles of the store share."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import datetime
from typing import Any, Self, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Insert,
    Row,
    String,
    bindparam,
    delete,
    exists,
    insert,
    or_,
    select,
)

from core.jobs.job import Job, JobFailure, JobStatus, Phase, Source
from core.jobs.origin import Origin
from core.jobs.params import JobParams
from core.jobs.tasks import Task, TaskState
from core.store.database import Database
from core.store.tables import ROW_VERSION, job, outbox
from core.webhooks import DeliveryStatus, WebhookStatus

T = TypeVar("T")
E = TypeVar("E", JobStatus, Phase, TaskState, WebhookStatus, DeliveryStatus)

_DROP_HINTS = delete(outbox).where(outbox.c.job_id == bindparam("of_job"))


class Role:
    """Base of the store's roles.

    row_version: what rows this code writes and up to which it understands them
    statements: those that `made` has made for other roles on the same database, to be shared
    """

    def __init__(
        self, database: Database, *, row_version: int = ROW_VERSION, statements: dict[Hashable, Any] | None = None
    ) -> None:
        self.database = database
        self.row_version = row_version
        self._statements = {} if statements is None else statements

    def statement(self, name: Hashable, make: Callable[[], T]) -> T:
        """A statement (its values as `bindparam`s) that is made at its first use: making one takes longer than executing it."""
        if name not in self._statements:
            self._statements[name] = make()
        found: T = self._statements[name]
        return found

    def add_hint(self, connection: Connection, job_id: str, delay: float = 0.0) -> None:
        """One outbox row, unless one waits already. The caller's transaction has written the job's row."""

        def make() -> Insert:
            waiting = exists().where(outbox.c.job_id == bindparam("of_job"))
            due = self.database.now() + bindparam("delay", type_=Double)
            row = select(bindparam("of_job", type_=String), due).where(~waiting)
            return insert(outbox).from_select(["job_id", "not_before"], row)

        connection.execute(self.statement("hint", make), {"of_job": job_id, "delay": delay})


class OwnerRole(Role):
    """Base of the roles that are bound to an owner (`JobStore.of`). One that is made without saying so sees all jobs."""

    owner: str | None = None
    all_jobs: bool = True

    def bound(self, owner: str | None, *, all_jobs: bool) -> Self:
        """As `JobStore.of`, for one just made."""
        self.owner, self.all_jobs = owner, all_jobs
        return self


def known(kind: type[E], value: str, otherwise: E) -> E:
    """What a newer version calls something new is, to this one, what comes nearest: a job that is being worked on, say."""
    return kind(value) if value in list(kind) else otherwise


def to_job(row: Row[Any]) -> Job:
    return Job(
        id=row.id,
        status=known(JobStatus, row.status, JobStatus.PROCESSING),
        stage=known(Phase, row.stage, Phase.TRANSCRIBING),
        source=Source(
            filename=row.filename,
            bytes=row.bytes,
            media_type=row.media_type,
            sha256=row.sha256,
            key=row.source_key,
            origin=Origin.from_text(row.origin) if row.origin else None,
        ),
        params=JobParams.from_dict(row.params),
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        samples_key=row.samples_key,
        retry_of=row.retry_of,
        retry_all=row.retry_all,
        caller=row.caller or {},
        batch=row.batch_id,
        owner=row.owner,
        priority=row.priority,
        attempts=row.attempts,
        strikes=row.strikes,
        fence=row.fence,
        lease_owner=row.lease_owner,
        duration=row.duration,
        speech_seconds=row.speech_seconds,
        language=row.language,
        language_confidence=row.language_confidence,
        plan_hash=row.plan_hash,
        chunks_total=row.chunks_total,
        chunks_done=row.chunks_done,
        audio_seconds_done=row.audio_seconds_done,
        eta_seconds=row.eta_seconds,
        diarized=row.diarized,
        partial=row.partial,
        gaps=tuple(row.gaps),
        warnings=tuple(row.warnings),
        error=JobFailure.from_dict(row.error) if row.error else None,
        performance=row.performance,
        result_key=row.result_key,
        revision=row.revision or 0,
        expired_audio=row.expired_audio,
        expired_result=row.expired_result,
        version=row.version,
    )


def to_task(row: Row[Any]) -> Task:
    return Task(
        stage=row.stage,
        number=row.number,
        plan=row.plan,
        state=known(TaskState, row.state, TaskState.PLANNED),
        output=row.output,
        error=row.error,
        identity=row.identity,
        engine_seconds=row.engine_seconds,
        audio_seconds=row.audio_seconds,
        crashes=row.crashes,
    )


def expired(now: ColumnElement[float]) -> ColumnElement[bool]:
    return or_(job.c.lease_until.is_(None), job.c.lease_until < now)


def no_lease_values() -> dict[str, Any]:
    return {
        "lease_owner": None,
        "consumer": None,
        "lease_until": None,
        "eta_seconds": None,
        "version": job.c.version + 1,
    }


def end_values(status: JobStatus, wall: ColumnElement[datetime]) -> dict[str, Any]:
    """What every end of a job writes."""
    return no_lease_values() | {"status": status, "stage": Phase.DONE, "finished_at": wall, "not_before": None}


def drop_hints(connection: Connection, job_id: str) -> None:
    connection.execute(_DROP_HINTS, {"of_job": job_id})
