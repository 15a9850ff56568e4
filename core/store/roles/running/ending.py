"""How jobs end on SQL, those above all whose owner is gone for good."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Select,
    and_,
    bindparam,
    case,
    func,
    not_,
    or_,
    select,
    update,
)

from core.errors import WorkerCrashed
from core.jobs.job import JobFailure, JobStatus
from core.jobs.tasks import TRANSCRIBE, TaskState
from core.store.roles.membership import left
from core.store.roles.rows import Role, drop_hints, end_values, expired
from core.store.roles.webhooks.announce import announce_end
from core.store.tables import STRUCK, job, task
from core.store.texts import index


class Ending(Role):
    """Base of the roles that end what nobody else will."""

    def end_abandoned(self, connection: Connection, max_attempts: int, *, waiting: bool = False) -> dict[str, int]:
        """End jobs whose owner is gone and which shall not run again; returns how many by status.

        A lease that ran out is a crash; `strikes` counts the crashes before it.
        waiting: look through the queued jobs too, for attempts that were counted when they were handed back
        """
        lost = self.statement(("lost", max_attempts, waiting), lambda: self._lost(max_attempts, waiting))
        counts = {"cancelled": 0, "failed": 0}
        for row in connection.execute(lost).all():
            if row.status == JobStatus.CANCELLING:
                self.end(connection, row.id, JobStatus.CANCELLED)
                counts["cancelled"] += 1
            else:
                crash = WorkerCrashed()
                failure = JobFailure(code=crash.code, message=crash.message, stage=row.stage, retryable=crash.retryable)
                self.end(connection, row.id, JobStatus.FAILED, {"error": failure.to_dict()})
                counts["failed"] += 1
        return counts

    def end(
        self, connection: Connection, job_id: str, status: JobStatus, values: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        """Write a job's end, `values` with it, and what is to be told of it; the batch's too, if it was its last.

        The caller holds the row. Its owner counts chunks every now and then only: what it has not come to is counted here.
        """

        def make() -> Executable:
            news = {name: bindparam(f"new_{name}", type_=job.c[name].type) for name in values}
            return (
                update(job)
                .where(job.c.id == bindparam("of_job"))
                .values(end_values(status, self.database.wall()) | _counted() | news)
                .returning(job.c.batch_id)
            )

        news = {f"new_{name}": value for name, value in values.items()}
        batch_id = connection.scalar(self.statement(("end", status, *values), make), {"of_job": job_id} | news)
        drop_hints(connection, job_id)
        if status is JobStatus.COMPLETED:
            index.mark(connection, self.database, job_id)
        announce_end(connection, self.database, job_id, status)
        if batch_id is not None:
            left(connection, self.database, batch_id)

    def _lost(self, max_attempts: int, waiting: bool) -> Select[Any]:
        now = self.database.now()
        cancelled = and_(job.c.status == JobStatus.CANCELLING, expired(now))
        crashed = and_(job.c.status == JobStatus.PROCESSING, expired(now), out_of_attempts(max_attempts, now))
        gone = [cancelled, crashed]
        if waiting:
            gone.append(and_(job.c.status == JobStatus.QUEUED, STRUCK, out_of_attempts_waiting(max_attempts)))
        # in the order of their batches, whose rows are held as they end
        found = select(job.c.id, job.c.status, job.c.stage).where(or_(*gone)).order_by(job.c.batch_id)
        return found.with_for_update(skip_locked=True)


def _counted() -> dict[str, ColumnElement[Any]]:
    ended = and_(task.c.job_id == job.c.id, task.c.stage == TRANSCRIBE, task.c.state != TaskState.PLANNED)
    counts = {"chunks_done": func.count(), "audio_seconds_done": func.coalesce(func.sum(task.c.audio_seconds), 0.0)}
    return {name: select(count).where(ended).correlate(job).scalar_subquery() for name, count in counts.items()}


def strikes() -> ColumnElement[int]:
    """Crashes of the job's owners in a row without a task getting done: under the newest fence, one that is done ends the row."""
    got_on = and_(task.c.job_id == job.c.id, task.c.state == TaskState.DONE, task.c.job_fence == job.c.fence)
    return case((select(task.c.number).where(got_on).correlate(job).exists(), 0), else_=job.c.strikes)


def out_of_attempts(max_attempts: int, now: ColumnElement[float]) -> ColumnElement[bool]:
    """Its last owner crashed, for the max_attempts-th time in a row without a task getting done.

    One claim more when others are done and one has been in flight at as many crashes: that one will be given up
    (`worker_crashed`) instead of the whole job.
    """
    crashes = task.c.crashes + case((task.c.lease_until < now, 1), else_=0)
    poison = and_(task.c.state == TaskState.PLANNED, crashes >= max_attempts)
    return and_(strikes() + 1 >= max_attempts, not_(and_(strikes() + 1 == max_attempts, _past(poison))))


def out_of_attempts_waiting(max_attempts: int) -> ColumnElement[bool]:
    """Of a waiting job: as `out_of_attempts`, its owners having handed it back. The one claim more may have been handed back too."""
    return and_(
        job.c.strikes >= max_attempts, not_(and_(job.c.strikes == max_attempts, _past(task.c.crashes >= max_attempts)))
    )


def _past(poison: ColumnElement[bool]) -> ColumnElement[bool]:
    """The job has tasks that are done, and such a one."""
    found = [
        select(task.c.number).where(task.c.job_id == job.c.id, one).correlate(job).exists()
        for one in (task.c.state == TaskState.DONE, poison)
    ]
    return and_(*found)
