"""What an owner has used, on SQL: a part of `OwnerJobs`."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, delete, func, or_, select

from core.jobs.job import JobStatus
from core.store.database import Database
from core.store.protocols import Totals, Usage
from core.store.roles.rows import OwnerRole
from core.store.tables import job, spent

DAY = timedelta(days=1)

_COUNTED = or_(job.c.retry_of.is_(None), job.c.retry_all)
"""A retry that takes over what is done costs little, and mostly is not its owner's fault."""


MEASURED = 1000
"""So many jobs, the newest ones, say how long a job takes."""


class SqlUsage(OwnerRole):
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

    def totals(self) -> Totals:
        there: list[ColumnElement[bool]] = [job.c.deleted_at.is_(None)]
        if not self.all_jobs:
            there.append(job.c.owner == self.owner)  # None becomes IS NULL
        counted = select(job.c.status, func.count()).where(*there).group_by(job.c.status)
        measured = (
            select(job.c.started_at, job.c.finished_at)
            .where(*there, job.c.status == JobStatus.COMPLETED)
            .order_by(job.c.created_at.desc())
            .limit(MEASURED)
        )
        with self.database.read() as connection:
            counts = {status: count for status, count in connection.execute(counted)}  # noqa: C416
            took = [(end - start).total_seconds() for start, end in connection.execute(measured) if start and end]
        return Totals(
            by_status={status: counts.get(status, 0) for status in JobStatus},
            mean_seconds=round(sum(took) / len(took), 3) if took else None,
        )


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
