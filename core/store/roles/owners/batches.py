"""OwnerBatches on SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    case,
    delete,
    func,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from core.errors import AlreadyTerminal, BatchNotFound, IdempotencyInFlight
from core.jobs.batches import Batch, NewBatch, Share, Tally
from core.jobs.job import Job, JobStatus, NewJob
from core.jobs.params import JobParams
from core.store.owners import Reservation
from core.store.roles.jobs import SqlJobs, cursor, read_cursor
from core.store.roles.membership import left
from core.store.roles.rows import OwnerRole, end_values, known, to_job
from core.store.roles.webhooks.announce import announce_end, withdraw
from core.store.tables import UtcDateTime, batch, delivery, idempotency, job, outbox
from core.store.texts import index
from core.system import tracing

_MINE = or_(
    bindparam("sees_all", type_=Boolean),
    batch.c.owner.is_not_distinct_from(bindparam("of_owner", type_=batch.c.owner.type)),
)
_THIS = and_(batch.c.id == bindparam("of_id"), batch.c.deleted_at.is_(None), _MINE)
_VISIBLE = select(batch).where(_THIS)
_ITEMS = [job.c.batch_id == bindparam("of_batch"), job.c.replaced_by.is_(None), job.c.deleted_at.is_(None)]
_KNOWN = job.c.duration.is_not(None)
_TALLY = (
    select(
        job.c.status,
        func.count().label("jobs"),
        func.sum(case((job.c.partial, 1), else_=0)).label("partial"),
        func.sum(job.c.bytes).label("bytes"),
        func.sum(case((_KNOWN, job.c.bytes), else_=0)).label("bytes_known"),
        func.sum(job.c.duration).label("seconds_known"),
        func.sum(job.c.audio_seconds_done).label("seconds_done"),
        func.min(job.c.started_at).label("begun"),
    )
    .where(*_ITEMS)
    .group_by(job.c.status)
)
_ALL = select(job.c.id).where(job.c.batch_id == bindparam("of_batch")).order_by(job.c.id).with_for_update()
_UNENDED = _ALL.where(job.c.finished_at.is_(None))


class SqlBatches(OwnerRole):
    """Bound to an owner, as `JobStore.batches_of` gives it out."""

    def create(self, new: NewBatch, *, jobs: Sequence[NewJob] = (), reservation: Reservation | None = None) -> Batch:
        view = self._jobs()
        values = {
            "id": new.id,
            "owner": self.owner,
            "params": new.params.to_dict(),
            "metadata": dict(new.metadata) if new.metadata is not None else None,
            "callback_url": new.callback_url,
        }
        row = self.database.insert(batch).values(values | {"created_at": self.database.wall()})
        with self.database.write() as connection:
            if connection.scalar(row.on_conflict_do_nothing(index_elements=["id"]).returning(batch.c.id)) is not None:
                for one in jobs:
                    view.insert_job(connection, one)
                if jobs:
                    self._close(connection, new.id)
            if reservation and not view.bind(connection, reservation, new.id):
                raise IdempotencyInFlight
            return to_batch(self._visible(connection, new.id))

    def get(self, batch_id: str) -> Batch:
        with self.database.read() as connection:
            return to_batch(self._visible(connection, batch_id))

    def tally(self, batch_id: str) -> tuple[Batch, Tally]:
        with self.database.read() as connection:
            found = to_batch(self._visible(connection, batch_id))
            rows = connection.execute(_TALLY, {"of_batch": batch_id}).all()
            now = connection.execute(select(self.database.wall())).scalar_one()
        shares = tuple(
            Share(
                status=known(JobStatus, row.status, JobStatus.PROCESSING),
                jobs=row.jobs,
                partial=row.partial,
                bytes=int(row.bytes),
                bytes_known=int(row.bytes_known),
                seconds_known=row.seconds_known or 0.0,
                seconds_done=row.seconds_done,
            )
            for row in rows
        )
        begun = min((row.begun for row in rows if row.begun is not None), default=now)
        return found, Tally(shares=shares, elapsed=max(0.0, (now - begun).total_seconds()))

    def list(self, *, limit: int = 50, after: str | None = None) -> tuple[Sequence[Batch], str | None]:
        query = select(batch).where(batch.c.deleted_at.is_(None))
        if not self.all_jobs:
            query = query.where(batch.c.owner == self.owner)  # None becomes IS NULL
        if after is not None:
            query = query.where(tuple_(batch.c.created_at, batch.c.id) < _place(after))
        query = query.order_by(batch.c.created_at.desc(), batch.c.id.desc()).limit(limit + 1)
        with self.database.read() as connection:
            found = [to_batch(row) for row in connection.execute(query)]
        return found[:limit], cursor(found[limit - 1]) if len(found) > limit else None

    def items(
        self, batch_id: str, *, status: JobStatus | None = None, limit: int = 50, after: str | None = None
    ) -> tuple[Sequence[Job], str | None]:
        query = select(job).where(*_ITEMS)
        if status is not None:
            query = query.where(job.c.status == status)
        if after is not None:
            query = query.where(tuple_(job.c.created_at, job.c.id) > _place(after))
        query = query.order_by(job.c.created_at, job.c.id).limit(limit + 1)
        with self.database.read() as connection:
            self._visible(connection, batch_id)
            found = [to_job(row) for row in connection.execute(query, {"of_batch": batch_id})]
        return found[:limit], cursor(found[limit - 1]) if len(found) > limit else None

    def close(self, batch_id: str) -> Batch:
        with self.database.write() as connection:
            self._visible(connection, batch_id)
            self._close(connection, batch_id)
            return to_batch(self._visible(connection, batch_id))

    def cancel(self, batch_id: str) -> Batch:
        if self.get(batch_id).finished_at is not None:
            raise AlreadyTerminal("All jobs of the batch have ended.")
        return self.database.making_room(lambda: self._cancel(batch_id))

    def retry(self, batch_id: str, *, limit: int) -> Sequence[str]:
        view, made = self._jobs(), []
        failed = select(job).where(*_ITEMS, job.c.status == JobStatus.FAILED, job.c.expired_audio.is_(False))
        with self.database.write() as connection:
            self._visible(connection, batch_id)
            rows = connection.execute(failed.order_by(job.c.id).limit(limit).with_for_update(), {"of_batch": batch_id})
            for old in [to_job(row) for row in rows]:
                again = old.again(caller=tracing.caller())
                view.insert_job(connection, again)
                made.append(again.id)
        return made

    def delete(self, batch_id: str) -> None:
        self.database.making_room(lambda: self._delete(batch_id))

    def _cancel(self, batch_id: str) -> Batch:
        self.close(batch_id)  # first, and for good: so what is there now is all there is
        with self.database.write() as connection:
            self._visible(connection, batch_id)
            self._end_all(connection, batch_id)
            left(connection, self.database, batch_id)
            return to_batch(self._visible(connection, batch_id))

    def _delete(self, batch_id: str) -> None:
        self.close(batch_id)
        with self.database.write() as connection:
            self._visible(connection, batch_id)
            # whoever is just making a retry of one of them is waited for, and what it has made is seen from here on
            connection.execute(_ALL, {"of_batch": batch_id}).all()
            self._end_all(connection, batch_id)
            gone = {"deleted_at": self.database.wall()}
            ours = job.c.batch_id == batch_id
            hide = update(job).where(ours, job.c.deleted_at.is_(None))
            connection.execute(hide.values(gone | {"version": job.c.version + 1}))
            connection.execute(update(batch).where(batch.c.id == batch_id).values(gone))
            # the same requests sent again are new ones now
            theirs = or_(idempotency.c.job_id == batch_id, idempotency.c.job_id.in_(select(job.c.id).where(ours)))
            connection.execute(delete(idempotency).where(theirs))
            index.drop(connection, ours)
            withdraw(connection, batch_id)
            connection.execute(delete(delivery).where(delivery.c.subject.in_(select(job.c.id).where(ours))))

    def _close(self, connection: Connection, batch_id: str) -> None:
        is_open = update(batch).where(batch.c.id == batch_id, batch.c.closed_at.is_(None))
        if connection.execute(is_open.values(closed_at=self.database.wall())).rowcount:
            left(connection, self.database, batch_id)

    def _end_all(self, connection: Connection, batch_id: str) -> None:
        """Cancel what waits, and ask for what runs."""
        connection.execute(_UNENDED, {"of_batch": batch_id}).all()
        ours = job.c.batch_id == batch_id
        waiting = select(job.c.id).where(ours, job.c.status == JobStatus.QUEUED)
        connection.execute(delete(outbox).where(outbox.c.job_id.in_(waiting)))
        cancelled = end_values(JobStatus.CANCELLED, self.database.wall())
        ended = update(job).where(ours, job.c.status == JobStatus.QUEUED).values(cancelled).returning(job.c.id)
        for job_id in connection.scalars(ended).all():
            announce_end(connection, self.database, job_id, JobStatus.CANCELLED)
        asked = {"status": JobStatus.CANCELLING, "version": job.c.version + 1}
        connection.execute(update(job).where(ours, job.c.status == JobStatus.PROCESSING).values(asked))

    def _jobs(self) -> SqlJobs:
        view = SqlJobs(self.database, row_version=self.row_version, statements=self._statements)
        return view.bound(self.owner, all_jobs=self.all_jobs)

    def _visible(self, connection: Connection, batch_id: str) -> Row[Any]:
        asked = {"of_id": batch_id, "of_owner": self.owner, "sees_all": self.all_jobs}
        row = connection.execute(_VISIBLE, asked).first()
        if row is None:
            raise BatchNotFound
        return row


def to_batch(row: Row[Any]) -> Batch:
    return Batch(
        id=row.id,
        owner=row.owner,
        params=JobParams.from_dict(row.params),
        metadata=row.metadata,
        callback_url=row.callback_url,
        created_at=row.created_at,
        closed_at=row.closed_at,
        finished_at=row.finished_at,
    )


def _place(after: str) -> ColumnElement[Any]:
    created_at, row_id = read_cursor(after)
    return tuple_(literal(created_at, UtcDateTime), literal(row_id))
