"""Hints on SQL: the outbox, and what the sweeper looks after. Safe to run in many processes at once."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import and_, case, delete, exists, func, insert, or_, select, union, update

from core.jobs.consumers import ConsumerInfo
from core.jobs.job import Job, JobStatus
from core.objects.store import job_of
from core.store.ending import Ending
from core.store.rows import expired, to_job
from core.store.tables import consumer, idempotency, job, meta, outbox, task

MAX_HINT_WAIT = 60.0
"""The back-off between hints for one job doubles up to this many seconds."""

SILENT_SECONDS = 20.0
"""Who has not been heard of for four of its beats (`worker.watch`) is not counted on to hear a hint."""

FORGET_SECONDS = 24 * 3600.0
"""A reserved Idempotency-Key whose request has left neither a job nor a word is forgotten so long after its lease."""


class SqlHints(Ending):
    def unsent(self, limit: int) -> list[tuple[int, str]]:
        with self.database.read() as connection:
            due = select(outbox.c.id, outbox.c.job_id).where(outbox.c.not_before <= self.database.now())
            return [(row.id, row.job_id) for row in connection.execute(due.order_by(outbox.c.id).limit(limit))]

    def sent(self, outbox_ids: Sequence[int]) -> None:
        with self.database.write() as connection:
            connection.execute(delete(outbox).where(outbox.c.id.in_(outbox_ids)))

    def free_slots(self) -> int:
        with self.database.read() as connection:
            now = self.database.now()
            here = select(consumer.c.info).where(consumer.c.last_seen >= now - SILENT_SECONDS)
            slots = sum(ConsumerInfo.from_dict(info).slots for info in connection.scalars(here))
            working = job.c.status.in_([JobStatus.PROCESSING, JobStatus.CANCELLING])
            busy = select(func.count()).select_from(job).where(working, job.c.lease_until > now)
            return max(0, slots - (connection.scalar(busy) or 0))

    def rehint(self, *, older_than: float, limit: int) -> int:
        with self.database.write() as connection:
            now = self.database.now()
            fresh = and_(job.c.status == JobStatus.QUEUED, or_(job.c.not_before.is_(None), job.c.not_before <= now))
            lost = and_(job.c.status == JobStatus.PROCESSING, expired(now))
            due = and_(job.c.hint_due <= now, or_(job.c.hint_wait > 0, job.c.hint_due <= now - older_than))
            ids: list[str] = []
            for waiting in (lost, fresh):  # each walks an index that has the due ones first
                found = (
                    select(job.c.id)
                    .where(waiting, due, ~exists().where(outbox.c.job_id == job.c.id))
                    .order_by(job.c.hint_due)
                    .limit(limit - len(ids))
                    .with_for_update(skip_locked=True)
                )
                ids += connection.scalars(found)
            if not ids:
                return 0
            wait = case((job.c.hint_wait > older_than, job.c.hint_wait), else_=older_than)
            longer = case((wait * 2 > MAX_HINT_WAIT, MAX_HINT_WAIT), else_=wait * 2)
            connection.execute(update(job).where(job.c.id.in_(ids)).values(hint_due=now + longer, hint_wait=longer))
            rows = select(job.c.id, now).where(job.c.id.in_(ids))
            connection.execute(insert(outbox).from_select(["job_id", "not_before"], rows))
        return len(ids)

    def sweep(self, *, max_attempts: int) -> dict[str, int]:
        self.database.keep_reserve()
        with self.database.write() as connection:
            abandoned = and_(
                idempotency.c.job_id.is_(None), idempotency.c.lease_until < self.database.now() - FORGET_SECONDS
            )
            connection.execute(delete(idempotency).where(abandoned))
            return self.end_lost(connection, max_attempts, waiting=True)

    def installation(self) -> str:
        with self.database.write() as connection:
            row = self.database.insert(meta).values(key="installation", value=str(uuid.uuid4()))
            connection.execute(row.on_conflict_do_nothing(index_elements=["key"]))
            return str(connection.scalar(select(meta.c.value).where(meta.c.key == "installation")))

    def removable(self, *, limit: int) -> list[Job]:
        gone = select(job).where(job.c.deleted_at.is_not(None), job.c.finished_at.is_not(None))
        with self.database.read() as connection:
            return [to_job(row) for row in connection.execute(gone.order_by(job.c.deleted_at).limit(limit))]

    def remove(self, job_id: str) -> None:
        self.database.making_room(lambda: self._remove(job_id))

    def _remove(self, job_id: str) -> None:
        with self.database.write() as connection:
            connection.execute(delete(idempotency).where(idempotency.c.job_id == job_id))
            connection.execute(delete(job).where(job.c.id == job_id))

    def expire(self, *, audio_hours: float, result_hours: float, limit: int) -> list[Job]:
        """Mark terminal jobs past retention. With the result goes the text in the chunk rows."""
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
                for row in connection.execute(mark.returning(job)).all():
                    found[row.id] = to_job(row)
                    if flag is job.c.expired_result:
                        connection.execute(delete(task).where(task.c.job_id == row.id))
        return list(found.values())

    def known_keys(self, keys: Sequence[str], *, besides: str | None = None) -> set[str]:
        others = job.c.id != besides if besides is not None else job.c.id.is_not(None)
        sources = select(job.c.source_key).where(job.c.source_key.in_(keys), job.c.expired_audio.is_(False), others)
        results = select(job.c.result_key).where(job.c.result_key.in_(keys), job.c.expired_result.is_(False), others)
        owners = {key: owner for key in keys if (owner := job_of(key))}
        unfinished = select(job.c.id).where(job.c.id.in_(set(owners.values())), job.c.finished_at.is_(None), others)
        with self.database.read() as connection:
            known = set(connection.scalars(union(sources, results)))
            at_work = set(connection.scalars(unfinished)) if owners else set()
        return known | {key for key, owner in owners.items() if owner in at_work}
