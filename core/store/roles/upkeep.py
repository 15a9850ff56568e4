"""Upkeep on SQL: what some process has to do from time to time."""

from __future__ import annotations

import uuid

from sqlalchemy import Double, String, and_, cast, delete, exists, select

from core.store.database import TURN
from core.store.roles.ending import Ending
from core.store.tables import batch, idempotency, job, meta

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

    def take_turn(self, task: str, *, every: float) -> bool:
        now = self.database.now()
        due = cast(now + every, String)
        row = self.database.insert(meta).values(key=TURN + task, value=due)
        taken = row.on_conflict_do_update(
            index_elements=["key"], set_={"value": due}, where=cast(meta.c.value, Double) <= now
        ).returning(meta.c.key)
        with self.database.write() as connection:
            return connection.execute(taken).first() is not None
