"""JobStore on SQL: what the API is made over."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Integer, and_, bindparam, func, select

from core.jobs.job import TERMINAL, Job, JobStatus
from core.jobs.tasks import TRANSCRIBE, Task, TaskState
from core.store.news import News, open_news
from core.store.owners import OwnerJobs, OwnerUploads, OwnerVoices
from core.store.protocols import StoredSizes
from core.store.roles.jobs import SqlJobs
from core.store.roles.owners.usage import count_by_status
from core.store.roles.owners.voices import SqlOwnerVoices
from core.store.roles.rows import Role, to_job, to_task
from core.store.roles.uploads import SqlOwnerUploads
from core.store.tables import job, live_session, meta, task, upload

# made once: building them takes as long as asking them
_THESE = [job.c.id.in_(bindparam("ids", expanding=True)), job.c.deleted_at.is_(None)]
_VERSIONS = select(job.c.id, job.c.owner, job.c.version).where(*_THESE)
_JOBS = select(job).where(*_THESE)

_CHUNKS = [
    task.c.job_id == bindparam("of_job"),
    task.c.stage == TRANSCRIBE,
    task.c.number >= bindparam("first", type_=Integer),
]
_OPEN = select(func.min(task.c.number)).where(*_CHUNKS, task.c.state == TaskState.PLANNED).scalar_subquery()
_ENDED = (
    select(task)
    .where(*_CHUNKS, task.c.number < func.coalesce(_OPEN, bindparam("end", 2**31 - 1, type_=Integer)))
    .order_by(task.c.number)
    .limit(bindparam("limit", type_=Integer))
)


class SqlAllJobs(Role):
    def of(self, owner: str | None, *, all_jobs: bool = False) -> OwnerJobs:
        view = SqlJobs(self.database, row_version=self.row_version, statements=self._statements)
        return view.bound(owner, all_jobs=all_jobs)

    def uploads_of(self, owner: str | None, *, all_jobs: bool = False) -> OwnerUploads:
        view = SqlOwnerUploads(self.database, row_version=self.row_version, statements=self._statements)
        return view.bound(owner, all_jobs=all_jobs)

    def voices_of(self, owner: str | None) -> OwnerVoices:
        view = SqlOwnerVoices(self.database, row_version=self.row_version, statements=self._statements)
        view.owner = owner
        return view

    def versions(self, job_ids: Collection[str]) -> dict[str, tuple[str | None, int]]:
        with self.database.read() as connection:
            return {row[0]: (row[1], row[2]) for row in connection.execute(_VERSIONS, {"ids": list(job_ids)})}

    def jobs_of(self, job_ids: Collection[str]) -> Sequence[Job]:
        with self.database.read() as connection:
            return [to_job(row) for row in connection.execute(_JOBS, {"ids": list(job_ids)})]

    def ended_chunks(self, job_id: str, *, first: int, limit: int) -> Sequence[Task]:
        with self.database.read() as connection:
            rows = connection.execute(_ENDED, {"of_job": job_id, "first": first, "limit": limit})
            return [to_task(row) for row in rows]

    def moving(
        self, owner: str | None, *, all_jobs: bool, ended_since: datetime, limit: int
    ) -> dict[str, tuple[str | None, int]]:
        # each walks an index, newest first; those that have ended the one of their results' retention
        kinds = [(job.c.status == status, job.c.created_at) for status in JobStatus if status not in TERMINAL]
        ended = and_(job.c.finished_at >= ended_since, job.c.expired_result.is_(False))
        if not all_jobs:
            kinds = [(and_(kind, job.c.owner == owner), newest) for kind, newest in kinds]  # None becomes IS NULL
            # not the column itself, or SQLite would go through all that the owner ever had
            ended = and_(ended, func.coalesce(job.c.owner, "") == (owner or ""))
        found: dict[str, tuple[str | None, int]] = {}
        with self.database.read() as connection:
            for kind, newest in [*kinds, (ended, job.c.finished_at)]:
                query = select(job.c.id, job.c.owner, job.c.version).where(kind, job.c.deleted_at.is_(None))
                rows = connection.execute(query.order_by(newest.desc()).limit(limit))
                found |= {row[0]: (row[1], row[2]) for row in rows}
        return found

    def news(self) -> News:
        return open_news(self.database.engine)

    def waiting(self, *, at_most: int) -> int:
        queued = select(job.c.id).where(job.c.status == JobStatus.QUEUED).limit(at_most).subquery()
        with self.database.read() as connection:
            return connection.scalar(select(func.count()).select_from(queued)) or 0

    def sizes(self) -> StoredSizes:
        # a retry shares the file of its original, which may be gone by now
        files = select(func.max(job.c.bytes).label("bytes")).where(job.c.expired_audio.is_(False), job.c.bytes > 0)
        source = files.group_by(job.c.source_key).subquery()
        results = job.c.result_key.is_not(None), job.c.expired_result.is_(False)
        with self.database.read() as connection:
            sources, source_bytes = connection.execute(select(func.count(), func.sum(source.c.bytes))).one()
            parts = select(func.count(), func.sum(upload.c.received)).where(upload.c.job_id.is_(None))
            uploads, upload_bytes = connection.execute(parts).one()
            alive = live_session.c.ended_at.is_(None)
            live = select(func.count(), func.sum(live_session.c.stored)).where(alive)
            streams, stream_bytes = connection.execute(live).one()
            done = connection.scalar(select(func.count()).select_from(job).where(*results))
        return StoredSizes(
            sources=sources,
            source_bytes=int(source_bytes or 0),
            uploads=uploads,
            upload_bytes=int(upload_bytes or 0),
            streams=streams,
            stream_bytes=int(stream_bytes or 0),
            results=done or 0,
            database_bytes=self.database.size(),
        )

    def counts(self) -> dict[str, int]:
        with self.database.read() as connection:
            return count_by_status(connection)

    def ping(self) -> None:
        with self.database.read() as connection:
            connection.execute(select(meta.c.key).limit(1))
