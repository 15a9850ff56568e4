"""What there is of an owner's work, on SQL: done, waiting and used. A part of `OwnerJobs`."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, case, delete, func, literal, or_, select, union_all

from core.jobs.job import SHORT_BYTES, SHORT_SECONDS, JobStatus
from core.store.database import Database
from core.store.owners import Backlog, Done, Totals, Usage
from core.store.roles.rows import OwnerRole
from core.store.tables import job, spent

DAY = timedelta(days=1)

LATELY = 200
"""So many completed jobs, the newest ones, are the measure for what is to come."""

_COUNTED = or_(job.c.retry_of.is_(None), job.c.retry_all)
"""A retry that takes over what is done costs little, and mostly is not its owner's fault."""

_THERE = job.c.deleted_at.is_(None)


MEASURED = 1000
"""So many jobs, the newest ones, say how long a job takes."""


class SqlUsage(OwnerRole):
    def totals(self) -> Totals:
        measured = (
            select(job.c.started_at, job.c.finished_at)
            .where(job.c.status == JobStatus.COMPLETED, _THERE, *self._owned())
            .order_by(job.c.created_at.desc())
            .limit(MEASURED)
        )
        with self.database.read() as connection:
            counts = count_by_status(connection, *self._owned())
            took = [(end - start).total_seconds() for start, end in connection.execute(measured) if start and end]
        return Totals(
            by_status={status: counts[status.value] for status in JobStatus},
            mean_seconds=round(sum(took) / len(took), 3) if took else None,
        )

    def backlog(self) -> Backlog:
        unknown, left = job.c.duration.is_(None), job.c.duration - job.c.audio_seconds_done
        open_jobs = (
            select(
                job.c.status,
                job.c.media_type,
                func.count().label("jobs"),
                func.min(job.c.created_at).label("oldest"),
                func.sum(case((unknown, func.coalesce(job.c.bytes, 0)), else_=0)).label("bytes"),
                func.sum(case((left > 0, left), else_=0.0)).label("seconds"),
            )
            .where(job.c.status.in_([JobStatus.QUEUED, JobStatus.PROCESSING]), _THERE, *self._owned())
            .group_by(job.c.status, job.c.media_type)
        )
        newest = (
            select(job.c.media_type, job.c.bytes, job.c.duration)
            .where(job.c.status == JobStatus.COMPLETED, job.c.duration > 0, *self._owned())
            .order_by(job.c.created_at.desc())
            .limit(LATELY)
            .subquery()
        )
        rates = select(newest.c.media_type, func.sum(newest.c.bytes), func.sum(newest.c.duration))
        with self.database.read() as connection:
            found = connection.execute(open_jobs).all()
            if not found:
                return Backlog(jobs=0, oldest_seconds=0.0, audio_seconds=0.0, running_audio_seconds=0.0)
            now = connection.execute(select(self.database.wall())).scalar_one()
            bytes_per_second = {
                kind: float(size) / seconds
                for kind, size, seconds in connection.execute(rates.group_by(newest.c.media_type))
            }
        jobs, oldest, audio = 0, now, {JobStatus.QUEUED: 0.0, JobStatus.PROCESSING: 0.0}
        for row in found:
            guessed = float(row.bytes) / bytes_per_second.get(row.media_type, SHORT_BYTES / SHORT_SECONDS)
            audio[JobStatus(row.status)] += row.seconds + guessed
            if row.status == JobStatus.QUEUED:
                jobs, oldest = jobs + row.jobs, min(oldest, row.oldest)
        return Backlog(
            jobs=jobs,
            oldest_seconds=(now - oldest).total_seconds(),
            audio_seconds=audio[JobStatus.QUEUED],
            running_audio_seconds=audio[JobStatus.PROCESSING],
        )

    def done_lately(self) -> Done:
        newest = (
            select(job.c.started_at, job.c.finished_at, job.c.duration)
            .where(job.c.status == JobStatus.COMPLETED, _THERE, *self._owned())
            .order_by(job.c.created_at.desc())
            .limit(LATELY)
        )
        with self.database.read() as connection:
            rows = connection.execute(newest).all()
        return Done(
            jobs=len(rows),
            seconds=sum((row.finished_at - row.started_at).total_seconds() for row in rows if row.started_at),
            audio_seconds=sum(row.duration or 0.0 for row in rows),
        )

    def usage(self) -> Usage:
        queued = select(func.count()).where(
            job.c.owner == self.owner, job.c.status == JobStatus.QUEUED, job.c.deleted_at.is_(None)
        )
        with self.database.read() as connection:
            now = connection.execute(select(self.database.wall())).scalar_one()
            waiting = connection.scalar(queued) or 0
            seconds, oldest = 0.0, None
            for table, amount, counted in (
                (job, job.c.duration, _COUNTED),
                (spent, spent.c.audio_seconds, spent.c.job_id.is_not(None)),
            ):
                found = connection.execute(
                    select(func.sum(amount), func.min(table.c.created_at)).where(
                        table.c.owner == self.owner, table.c.created_at > now - DAY, amount.is_not(None), counted
                    )
                ).one()
                if found[0] is not None:
                    seconds += found[0]
                    oldest = found[1] if oldest is None else min(oldest, found[1])
        freed_in = 0.0 if oldest is None else (oldest + DAY - now).total_seconds()
        return Usage(waiting=waiting, audio_seconds=seconds, freed_in=max(0.0, freed_in))

    def _owned(self) -> list[ColumnElement[bool]]:
        return [] if self.all_jobs else [job.c.owner == self.owner]  # None becomes IS NULL


def count_by_status(connection: Connection, *mine: ColumnElement[bool]) -> dict[str, int]:
    """Number of jobs by status; mine: which of them."""
    # through an index, not the rows; those being deleted are few, and have an index of their own
    there = select(job.c.status, func.count()).where(*mine).group_by(job.c.status)
    gone = select(job.c.status, literal(-1)).where(job.c.deleted_at.is_not(None), *mine)
    found = {status.value: 0 for status in JobStatus}
    for status, count in connection.execute(union_all(there, gone)):
        if status in found:
            found[status] += count
    return found


def remember_spent(connection: Connection, database: Database, job_id: str) -> None:
    """Before a job is removed: its audio counts until a day after it was made. The caller's transaction removes it."""
    now = connection.execute(select(database.wall())).scalar_one()
    connection.execute(delete(spent).where(spent.c.created_at <= now - DAY))
    seconds = (
        select(job.c.id, job.c.owner, job.c.created_at, job.c.duration)
        .where(job.c.id == job_id, job.c.owner.is_not(None), job.c.duration.is_not(None))
        .where(job.c.created_at > now - DAY, _COUNTED)
    )
    connection.execute(database.insert(spent).from_select(["job_id", "owner", "created_at", "audio_seconds"], seconds))
