"""Upkeep on SQL: what some process has to do from time to time."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import Double, String, and_, cast, delete, exists, select

from core.jobs.job import Job
from core.store.database import TURN
from core.store.roles.rows import to_job
from core.store.roles.running.ending import Ending
from core.store.tables import batch, idempotency, job, meta, revision, search
from core.store.texts import index
from core.transcript.search.document import Document

FORGET_SECONDS = 24 * 3600.0
"""A reserved Idempotency-Key whose request has left neither a job nor a word is forgotten so long after its lease."""


class SqlUpkeep(Ending):
    def sweep(self, *, max_attempts: int) -> dict[str, int]:
        self.database.keep_reserve()
        with self.database.write() as connection:
            abandoned = and_(
                idempotency.c.job_id.is_(None), idempotency.c.lease_until < self.database.now() - FORGET_SECONDS
            )
            connection.execute(delete(idempotency).where(abandoned))
            jobs_left = exists().where(job.c.batch_id == batch.c.id)
            connection.execute(delete(batch).where(batch.c.deleted_at.is_not(None), ~jobs_left))
            return self.end_abandoned(connection, max_attempts, waiting=True)

    def installation(self) -> str:
        with self.database.write() as connection:
            row = self.database.insert(meta).values(key="installation", value=str(uuid.uuid4()))
            connection.execute(row.on_conflict_do_nothing(index_elements=["key"]))
            return str(connection.scalar(select(meta.c.value).where(meta.c.key == "installation")))

    def unindexed(self, *, limit: int) -> Sequence[tuple[Job, str | None]]:
        newest = and_(revision.c.job_id == job.c.id, revision.c.number == job.c.revision)
        due = (
            select(job, revision.c.key.label("edited"))
            .join(search, search.c.job_id == job.c.id)
            .outerjoin(revision, newest)
            .where(search.c.due.is_(True), job.c.deleted_at.is_(None))
            .order_by(search.c.id.desc())
            .limit(limit)
        )
        with self.database.read() as connection:
            rows = connection.execute(due).all()
        return [(to_job(row), None if row.expired_result else row.edited or row.result_key) for row in rows]

    def index(self, one: Job, document: Document | None) -> bool:
        with self.database.write() as connection:
            row = connection.execute(select(job).where(job.c.id == one.id).with_for_update()).first()
            if row is None or row.deleted_at is not None:
                return False
            if (row.status, row.revision or 0, row.expired_result) != (one.status, one.revision, one.expired_result):
                return False
            index.write(connection, self.database, row, document)
            return True

    def index_anew(self) -> int:
        with self.database.write() as connection:
            return index.mark_all(connection, self.database)

    def take_turn(self, task: str, *, every: float) -> bool:
        now = self.database.now()
        due = cast(now + every, String)
        row = self.database.insert(meta).values(key=TURN + task, value=due)
        taken = row.on_conflict_do_update(
            index_elements=["key"], set_={"value": due}, where=cast(meta.c.value, Double) <= now
        ).returning(meta.c.key)
        with self.database.write() as connection:
            return connection.execute(taken).first() is not None
