"""What jobs and their batch owe each other, inside of the transaction that changes a job.

Locks are taken in one order: a job's row, then its batch's. Who ends a job holds the batch's row until the end is committed,
so of two that end the last two jobs at once one sees both ended.
"""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, select, update

from core.errors import BatchClosed, BatchNotFound
from core.store.database import Database
from core.store.roles.webhooks.announce import announce
from core.store.tables import batch, job

# by its id alone: with more in WHERE, PostgreSQL would pass over a row that is just becoming what is asked for
_THIS = batch.c.id == bindparam("of_batch")
_STATE = select(batch.c.owner, batch.c.closed_at, batch.c.finished_at, batch.c.deleted_at, batch.c.callback_url).where(
    _THIS
)
_LOCKED = _STATE.with_for_update()
_SHARED = _STATE.with_for_update(read=True)
_LEFT = (
    select(job.c.id)
    .where(job.c.batch_id == bindparam("of_batch"), job.c.finished_at.is_(None), job.c.deleted_at.is_(None))
    .limit(1)
)
_REOPEN = update(batch).where(_THIS).values(finished_at=None)
_PLACE = (
    update(job)
    .where(job.c.id == bindparam("of_old"), job.c.batch_id.is_not(None), job.c.replaced_by.is_(None))
    .values(replaced_by=bindparam("by_new"))
    .returning(job.c.batch_id)
)
_JOIN = update(job).where(job.c.id == bindparam("of_job")).values(batch_id=bindparam("to_batch"))
_OWN = update(job).where(job.c.id == bindparam("of_job")).values(owner=bindparam("to_owner"))


def join(connection: Connection, job_id: str, batch_id: str, owner: str | None, *, all_jobs: bool) -> None:
    """A job that was just inserted belongs to a batch of that owner's (all_jobs: of anybody's, whose job it is then).

    Raises BatchNotFound, BatchClosed.
    """
    row = connection.execute(_SHARED, {"of_batch": batch_id}).one_or_none()
    if row is None or row.deleted_at is not None or not (all_jobs or row.owner == owner):
        raise BatchNotFound
    if row.closed_at is not None:
        raise BatchClosed
    if row.owner != owner:
        connection.execute(_OWN, {"of_job": job_id, "to_owner": row.owner})


def take_place(connection: Connection, old: str, new: str) -> None:
    """A job's retry takes its place in its batch, if it has one still; the batch is to be completed anew.

    The caller holds both rows.
    """
    batch_id = connection.scalar(_PLACE, {"of_old": old, "by_new": new})
    if batch_id is not None:
        connection.execute(_JOIN, {"of_job": new, "to_batch": batch_id})
        connection.execute(_REOPEN, {"of_batch": batch_id})


def left(connection: Connection, database: Database, batch_id: str) -> bool:
    """A job of the batch has ended, is gone, or no more will come: was that all? Then it is completed, here and once.

    True: by this very call. Whoever is to be told of it is told in the same transaction.
    """
    row = connection.execute(_LOCKED, {"of_batch": batch_id}).one_or_none()
    if row is None or row.deleted_at is not None or row.closed_at is None or row.finished_at is not None:
        return False
    if connection.scalar(_LEFT, {"of_batch": batch_id}) is not None:
        return False
    connection.execute(update(batch).where(batch.c.id == batch_id).values(finished_at=database.wall()))
    announce(connection, database, "batch.completed", subject=batch_id, owner=row.owner, callback_url=row.callback_url)
    return True
