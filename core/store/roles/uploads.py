"""Uploads in parts on SQL: an owner's, and what the sweeper and a job that puts one together need."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    cast,
    delete,
    exists,
    func,
    literal,
    not_,
    or_,
    select,
    update,
)

from core.errors import AlreadyTerminal, Expired, OffsetConflict, QuotaExceeded, UploadLocked, UploadNotFound
from core.jobs.job import NewJob
from core.jobs.origin import OriginKind
from core.jobs.uploads import NewUpload, PartialUpload, UploadLease
from core.store.roles.jobs import SqlJobs
from core.store.roles.rows import Role
from core.store.tables import job, upload, upload_part

KEPT = timedelta(hours=24)
"""An upload that gets no further byte for so long is forgotten."""


class SqlOwnerUploads(SqlJobs):
    """OwnerUploads, always of one owner alone. One that becomes a job makes it in its own transaction."""

    def begin_upload(self, new: NewUpload, *, most: int) -> PartialUpload:
        with self.database.write() as connection:
            open_ones = select(func.count()).select_from(upload).where(self._mine, upload.c.job_id.is_(None))
            if (connection.scalar(open_ones) or 0) >= most:
                message = f"{most} uploads of this key's owner are not complete; finish or delete some of them."
                raise QuotaExceeded(message, limit=most, remaining=0)
            row = upload.insert().values(
                id=new.id,
                owner=self.owner,
                filename=new.filename,
                length=new.length,
                options=dict(new.options),
                metadata=new.metadata,
                received=0,
                expires_at=self._now(connection) + KEPT,
                fence=0,
            )
            connection.execute(row)
            return _to_upload(self._row(connection, new.id))

    def upload(self, upload_id: str) -> PartialUpload:
        with self.database.read() as connection:
            return _to_upload(self._row(connection, upload_id))

    def parts(self, upload_id: str) -> list[str]:
        with self.database.read() as connection:
            self._row(connection, upload_id)
            return list(connection.scalars(_keys(upload_id)))

    def take_upload(self, upload_id: str, *, offset: int, lease_seconds: float) -> UploadLease:
        with self.database.write() as connection:
            now = self.database.now()
            free = or_(upload.c.lease_until.is_(None), upload.c.lease_until < now)
            taken = (
                update(upload)
                .where(
                    self._mine, upload.c.id == upload_id, upload.c.received == offset, upload.c.job_id.is_(None), free
                )
                .values(fence=upload.c.fence + 1, lease_until=now + lease_seconds)
                .returning(upload)
            )
            row = self._row(connection, upload_id)  # who has gone past its time is not taken again
            if row.received != offset or row.job_id is not None:
                raise OffsetConflict(f"The upload has {row.received} of {row.length} bytes; go on from there.")
            ours = connection.execute(taken).first()
            if ours is None:
                raise UploadLocked
            return UploadLease(upload=_to_upload(ours), fence=ours.fence)

    def renew_upload(self, lease: UploadLease, *, lease_seconds: float) -> None:
        with self.database.write() as connection:
            ours = update(upload).where(_held(lease))
            connection.execute(ours.values(lease_until=self.database.now() + lease_seconds))

    def append(
        self, lease: UploadLease, key: str, size: int, *, media_type: str | None, job: NewJob | None = None
    ) -> UploadLease:
        start = lease.upload.offset
        with self.database.write() as connection:
            row = connection.execute(
                update(upload)
                .where(_held(lease), upload.c.received == start)
                .values(
                    received=start + size,
                    media_type=media_type,
                    expires_at=self._now(connection) + KEPT,
                    job_id=job.id if job else None,
                )
                .returning(upload)
            ).first()
            if row is None:
                self._row(connection, lease.upload.id)
                raise UploadLocked
            connection.execute(upload_part.insert().values(upload_id=row.id, start=start, key=key))
            if job is not None:
                self.insert_job(connection, job)
            return UploadLease(upload=_to_upload(row), fence=lease.fence)

    def leave_upload(self, lease: UploadLease) -> None:
        with self.database.write() as connection:
            connection.execute(update(upload).where(_held(lease)).values(lease_until=None))

    def drop_upload(self, upload_id: str) -> None:
        self.database.making_room(lambda: self._drop(upload_id))

    def _drop(self, upload_id: str) -> None:
        with self.database.write() as connection:
            gone = delete(upload).where(self._mine, upload.c.id == upload_id, upload.c.job_id.is_(None))
            if not connection.execute(gone).rowcount:
                row = self._row(connection, upload_id)
                raise AlreadyTerminal(f"The upload is complete: it has become job {row.job_id}.", job_id=row.job_id)

    def _row(self, connection: Connection, upload_id: str) -> Row[Any]:
        row = connection.execute(select(upload).where(self._mine, upload.c.id == upload_id)).first()
        if row is None:
            raise UploadNotFound
        if row.job_id is None and row.expires_at < self._now(connection):
            raise Expired("No byte of this upload has come for a day: it is forgotten; begin again.")
        return row

    def _now(self, connection: Connection) -> datetime:
        now: datetime = connection.execute(select(self.database.wall())).scalar_one()
        return now

    @property
    def _mine(self) -> ColumnElement[bool]:
        return upload.c.owner.is_not_distinct_from(literal(self.owner, upload.c.owner.type))


class SqlUploads(Role):
    def upload_parts(self, upload_id: str) -> list[str]:
        with self.database.read() as connection:
            return list(connection.scalars(_keys(upload_id)))

    def removable_uploads(self, *, limit: int) -> list[str]:
        with self.database.read() as connection:
            today = connection.execute(select(self.database.wall())).scalar_one()
            late = and_(upload.c.job_id.is_(None), upload.c.expires_at < today)
            # as `Origin.to_text` has it: its bytes are all of it
            origin = f"{OriginKind.UPLOAD} " + cast(upload.c.length, job.c.origin.type) + " " + upload.c.id
            waited_for = exists().where(job.c.origin == origin)
            done = and_(upload.c.job_id.is_not(None), not_(waited_for))
            return list(connection.scalars(select(upload.c.id).where(or_(late, done)).limit(limit)))

    def remove_upload(self, upload_id: str) -> None:
        self.database.making_room(lambda: self._remove_upload(upload_id))

    def known_uploads(self, upload_ids: Collection[str]) -> set[str]:
        with self.database.read() as connection:
            return set(connection.scalars(select(upload.c.id).where(upload.c.id.in_(upload_ids))))

    def _remove_upload(self, upload_id: str) -> None:
        with self.database.write() as connection:
            connection.execute(delete(upload).where(upload.c.id == upload_id))


def _keys(upload_id: str) -> Any:
    return select(upload_part.c.key).where(upload_part.c.upload_id == upload_id).order_by(upload_part.c.start)


def _held(lease: UploadLease) -> ColumnElement[bool]:
    return and_(upload.c.id == lease.upload.id, upload.c.fence == lease.fence)


def _to_upload(row: Row[Any]) -> PartialUpload:
    return PartialUpload(
        id=row.id,
        filename=row.filename,
        length=row.length,
        options=row.options,
        metadata=row.metadata,
        offset=row.received,
        media_type=row.media_type,
        expires_at=row.expires_at,
        job_id=row.job_id,
    )
