"""JobStore on SQL: what the API asks."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Executable, Row, bindparam, delete, func, literal, select, tuple_, update

from core.errors import AlreadyTerminal, Expired, IdempotencyInFlight, JobNotFound, ValidationFailed
from core.jobs.job import ID_PATTERN, Job, JobStatus, NewJob, Stage
from core.store.protocols import Reservation
from core.store.rows import Role, drop_hints, ended, to_job
from core.store.sql_idempotency import bind
from core.store.tables import UtcDateTime, idempotency, job, meta
from core.system.crashpoints import reached

# made once: building them takes as long as asking them
_VISIBLE = select(job).where(job.c.id == bindparam("of_id"), job.c.deleted_at.is_(None))
_VERSIONS = select(job.c.id, job.c.version).where(
    job.c.id.in_(bindparam("ids", expanding=True)), job.c.deleted_at.is_(None)
)


class SqlJobs(Role):
    def create(self, new: NewJob, *, reservation: Reservation | None = None) -> Job:
        """Insert job and outbox row in one transaction, and give the reserved Idempotency-Key to the job.

        Calling it again after a lost answer (DatabaseUnavailable) is safe: the job of that id is returned.
        Raises, and stores nothing: IdempotencyInFlight when the key has gone to another job meanwhile; JobNotFound or Expired
        when the job that it retries is deleted, or its upload past retention, at this very moment.
        """
        with self.database.write() as connection:
            if connection.execute(self.statement("create", self._insert), self._values(new)).rowcount:
                self.add_hint(connection, new.id)
                if new.retry_of is not None:
                    _keep_upload(connection, new.retry_of)
            if reservation and not bind(self.database, connection, reservation, new.id):
                raise IdempotencyInFlight
            created = to_job(_visible(connection, new.id))
        reached("after_create")
        return created

    def get(self, job_id: str) -> Job:
        with self.database.read() as connection:
            return to_job(_visible(connection, job_id))

    def versions(self, job_ids: Collection[str]) -> dict[str, int]:
        with self.database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(_VERSIONS, {"ids": list(job_ids)})}

    def request_cancel(self, job_id: str) -> Job:
        return self.database.making_room(lambda: self._request_cancel(job_id))

    def request_delete(self, job_id: str) -> None:
        self.database.making_room(lambda: self._request_delete(job_id))

    def _request_cancel(self, job_id: str) -> Job:
        with self.database.write() as connection:
            row = self._cancel(connection, job_id)
            if row is None:
                row = _visible(connection, job_id)
                if row.status != JobStatus.CANCELLING:
                    raise AlreadyTerminal
            return to_job(row)

    def _request_delete(self, job_id: str) -> None:
        with self.database.write() as connection:
            self._cancel(connection, job_id)
            hide = update(job).where(job.c.id == job_id, job.c.deleted_at.is_(None))
            if not connection.execute(hide.values(deleted_at=self.database.wall(), version=job.c.version + 1)).rowcount:
                raise JobNotFound
            # the same request sent again is a new one now
            connection.execute(delete(idempotency).where(idempotency.c.job_id == job_id))

    def counts(self) -> dict[str, int]:
        query = select(job.c.status, func.count()).where(job.c.deleted_at.is_(None)).group_by(job.c.status)
        with self.database.read() as connection:
            found: dict[str, int] = {row[0]: row[1] for row in connection.execute(query)}
        return {status.value: found.get(status, 0) for status in JobStatus}

    def ping(self) -> None:
        with self.database.read() as connection:
            connection.execute(select(meta.c.key).limit(1))

    def _cancel(self, connection: Connection, job_id: str) -> Row[Any] | None:
        """The row when this changed it."""
        waiting, running = job.c.status == JobStatus.QUEUED, job.c.status == JobStatus.PROCESSING
        end = ended(JobStatus.CANCELLED, self.database.wall())
        row = connection.execute(
            update(job).where(job.c.id == job_id, job.c.deleted_at.is_(None), waiting).values(end).returning(job)
        ).first()
        if row is not None:
            drop_hints(connection, job_id)
            return row
        return connection.execute(
            update(job)
            .where(job.c.id == job_id, job.c.deleted_at.is_(None), running)
            .values(status=JobStatus.CANCELLING, version=job.c.version + 1)
            .returning(job)
        ).first()

    def _insert(self) -> Executable:
        row = self.database.insert(job).values(created_at=self.database.wall(), hint_due=self.database.now())
        statement: Executable = row.on_conflict_do_nothing(index_elements=["id"])
        return statement

    def _values(self, new: NewJob) -> dict[str, Any]:
        source = new.source
        return {
            "id": new.id,
            "owner": new.owner,
            "priority": new.priority,
            "status": JobStatus.QUEUED,
            "stage": Stage.QUEUED,
            "filename": source.filename,
            "bytes": source.bytes,
            "media_type": source.media_type,
            "sha256": source.sha256,
            "source_key": source.key,
            "params": new.params.to_dict(),
            "retry_of": new.retry_of,
            "retry_all": new.retry_all,
            "row_version": self.row_version,
            "attempts": 0,
            "strikes": 0,
            "fence": 0,
            "hint_wait": 0.0,
            "chunks_done": 0,
            "audio_seconds_done": 0.0,
            "partial": False,
            "gaps": [],
            "warnings": list(new.warnings),
            "expired_audio": False,
            "expired_result": False,
            "version": 1,
        }

    def list(
        self, *, status: JobStatus | None = None, limit: int = 50, after: str | None = None
    ) -> tuple[Sequence[Job], str | None]:
        """Newest first; raises ValidationFailed for a cursor that is none."""
        query = select(job).where(job.c.deleted_at.is_(None))
        if status is not None:
            query = query.where(job.c.status == status)
        if after is not None:
            created_at, job_id = _read_cursor(after)
            place = tuple_(literal(created_at, UtcDateTime), literal(job_id))
            query = query.where(tuple_(job.c.created_at, job.c.id) < place)
        query = query.order_by(job.c.created_at.desc(), job.c.id.desc()).limit(limit + 1)
        with self.database.read() as connection:
            jobs = [to_job(row) for row in connection.execute(query)]
        return jobs[:limit], _cursor(jobs[limit - 1]) if len(jobs) > limit else None


def _keep_upload(connection: Connection, job_id: str) -> None:
    """Hold the job whose upload another one is to share, so that whoever removes it sees both or neither."""
    of = select(job.c.deleted_at, job.c.expired_audio).where(job.c.id == job_id).with_for_update(read=True)
    row = connection.execute(of).one_or_none()
    if row is None or row.deleted_at is not None:
        raise JobNotFound
    if row.expired_audio:
        raise Expired


def _visible(connection: Connection, job_id: str) -> Row[Any]:
    row = connection.execute(_VISIBLE, {"of_id": job_id}).first()
    if row is None:
        raise JobNotFound
    return row


def _cursor(last: Job) -> str:
    return base64.urlsafe_b64encode(f"{last.created_at.isoformat()} {last.id}".encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, str]:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        created_at, _, job_id = text.partition(" ")
        moment = datetime.fromisoformat(created_at)
        if moment.tzinfo is None or not re.fullmatch(ID_PATTERN, job_id):
            raise ValueError
        return moment.astimezone(UTC), job_id
    except (ValueError, OverflowError):  # the latter for the first and the last hours that a datetime has
        raise ValidationFailed("`after` is not a cursor of this list.") from None
