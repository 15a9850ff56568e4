"""Outbox on SQL: hints to be sent. Safe to use by many processes at once."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, case, delete, exists, func, insert, or_, select, update

from core.jobs.consumers import ConsumerInfo
from core.jobs.job import JobStatus
from core.jobs.turns import INTERACTIVE
from core.store.roles.rows import Role, expired
from core.store.tables import consumer, job, outbox

MAX_HINT_WAIT = 60.0
"""The back-off between hints for one job doubles up to this many seconds."""

SILENT_SECONDS = 20.0
"""Who has not been heard of for four of its beats (`worker.watch`) is not counted on to hear a hint."""


class SqlOutbox(Role):
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
            at_work = and_(working, job.c.lease_until > now)
            busy = select(func.count()).select_from(job).where(at_work)
            # of each consumer one interactive job may be the one that takes no usual slot (`worker.pools.slots`)
            extra = select(func.count(job.c.consumer.distinct())).where(at_work, job.c.priority >= INTERACTIVE)
            return max(0, slots - (connection.scalar(busy) or 0) + (connection.scalar(extra) or 0))

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
