"""JobStore on SQL: what the API is made over."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import bindparam, func, literal, select, union_all

from core.jobs.job import Job, JobStatus
from core.store.protocols import OwnerJobs
from core.store.roles.jobs import SqlJobs
from core.store.roles.rows import Role, to_job
from core.store.tables import job, meta

# made once: building them takes as long as asking them
_THESE = [job.c.id.in_(bindparam("ids", expanding=True)), job.c.deleted_at.is_(None)]
_VERSIONS = select(job.c.id, job.c.owner, job.c.version).where(*_THESE)
_JOBS = select(job).where(*_THESE)


class SqlAllJobs(Role):
    def of(self, owner: str | None, *, all_jobs: bool = False) -> OwnerJobs:
        view = SqlJobs(self.database, row_version=self.row_version, statements=self._statements)
        return view.bound(owner, all_jobs=all_jobs)

    def versions(self, job_ids: Collection[str]) -> dict[str, tuple[str | None, int]]:
        with self.database.read() as connection:
            return {row[0]: (row[1], row[2]) for row in connection.execute(_VERSIONS, {"ids": list(job_ids)})}

    def jobs_of(self, job_ids: Collection[str]) -> Sequence[Job]:
        with self.database.read() as connection:
            return [to_job(row) for row in connection.execute(_JOBS, {"ids": list(job_ids)})]

    def waiting(self, *, at_most: int) -> int:
        queued = select(job.c.id).where(job.c.status == JobStatus.QUEUED).limit(at_most).subquery()
        with self.database.read() as connection:
            return connection.scalar(select(func.count()).select_from(queued)) or 0

    def counts(self) -> dict[str, int]:
        # through an index, not the rows; those being deleted are few, and have an index of their own
        there = select(job.c.status, func.count()).group_by(job.c.status)
        gone = select(job.c.status, literal(-1)).where(job.c.deleted_at.is_not(None))
        found = {status.value: 0 for status in JobStatus}
        with self.database.read() as connection:
            for status, count in connection.execute(union_all(there, gone)):
                if status in found:
                    found[status] += count
        return found

    def ping(self) -> None:
        with self.database.read() as connection:
            connection.execute(select(meta.c.key).limit(1))
