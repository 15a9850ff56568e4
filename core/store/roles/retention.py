"""Retention on SQL: what is to be removed, and what is not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, select, true, union, update

from core.jobs.job import Job
from core.objects.store import job_of
from core.store.roles.owners.usage import remember_spent
from core.store.roles.rows import Role, to_job
from core.store.tables import idempotency, job, revision, task
from core.store.texts import index, revisions


class SqlRetention(Role):
    def removable(self, *, limit: int) -> list[Job]:
        gone = select(job).where(job.c.deleted_at.is_not(None), job.c.finished_at.is_not(None))
        with self.database.read() as connection:
            return [to_job(row) for row in connection.execute(gone.order_by(job.c.deleted_at).limit(limit))]

    def remove(self, job_id: str) -> None:
        self.database.making_room(lambda: self._remove(job_id))

    def expire(self, *, audio_hours: float, result_hours: float, limit: int) -> list[Job]:
        found: dict[str, Job] = {}
        for hours, flag in ((audio_hours, job.c.expired_audio), (result_hours, job.c.expired_result)):
            if not hours:
                continue
            with self.database.write() as connection:
                # PostgreSQL's own clock where there is one; finished_at was taken from the same
                today = connection.execute(select(self.database.wall())).scalar_one()
                old = (
                    select(job.c.id)
                    .where(flag.is_(False), job.c.finished_at < today - timedelta(hours=hours))
                    .limit(limit)
                    .with_for_update(skip_locked=True)
                )
                mark = update(job).where(job.c.id.in_(old)).values({flag: True, "version": job.c.version + 1})
                if flag is job.c.expired_audio:
                    mark = mark.values(origin=None)
                for row in connection.execute(mark.returning(job)).all():
                    found[row.id] = to_job(row)
                    if flag is job.c.expired_result:
                        connection.execute(delete(task).where(task.c.job_id == row.id))
                        revisions.forget(connection, row.id)
                        if row.deleted_at is None:
                            index.write(connection, self.database, row, None)
        return list(found.values())

    def known_keys(self, keys: Sequence[str], *, besides: str | None = None) -> set[str]:
        others = job.c.id != besides if besides is not None else job.c.id.is_not(None)
        sources = select(job.c.source_key).where(job.c.source_key.in_(keys), job.c.expired_audio.is_(False), others)
        results = select(job.c.result_key).where(job.c.result_key.in_(keys), job.c.expired_result.is_(False), others)
        samples = select(job.c.samples_key).where(job.c.samples_key.in_(keys), job.c.expired_audio.is_(False), others)
        edits = select(revision.c.key).where(
            revision.c.key.in_(keys), revision.c.job_id != besides if besides is not None else true()
        )
        owners = {key: owner for key in keys if (owner := job_of(key))}
        unfinished = select(job.c.id).where(job.c.id.in_(set(owners.values())), job.c.finished_at.is_(None), others)
        with self.database.read() as connection:
            known = set(connection.scalars(union(sources, samples, results, edits)))
            at_work = set(connection.scalars(unfinished)) if owners else set()
        return known | {key for key, owner in owners.items() if owner in at_work}

    def _remove(self, job_id: str) -> None:
        with self.database.write() as connection:
            connection.execute(delete(idempotency).where(idempotency.c.job_id == job_id))
            remember_spent(connection, self.database, job_id)
            index.drop(connection, job.c.id == job_id)
            connection.execute(delete(job).where(job.c.id == job_id))
