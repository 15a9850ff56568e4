"""OwnerJobs on SQL: what a request may do."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Executable,
    Row,
    Select,
    and_,
    bindparam,
    delete,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from core.errors import (
    AlreadyTerminal,
    Expired,
    IdempotencyInFlight,
    JobNotFound,
    RevisionConflict,
    RevisionNotFound,
    ValidationFailed,
)
from core.jobs.batches import Batch
from core.jobs.job import ID_PATTERN, Job, JobStatus, NewJob, Phase
from core.jobs.known_speakers import asked_voices
from core.jobs.turns import CLASSES
from core.store.owners import Reservation, Revision
from core.store.roles.membership import join, left, take_place
from core.store.roles.owners.idempotency import SqlIdempotency
from core.store.roles.owners.usage import SqlUsage
from core.store.roles.owners.voices import check_kept
from core.store.roles.rows import drop_hints, end_values, to_job
from core.store.roles.webhooks.announce import announce_end, withdraw
from core.store.tables import UtcDateTime, idempotency, job, search
from core.store.texts import index, matches, revisions
from core.system.crashpoints import reached
from core.transcript.search.document import Document
from core.transcript.search.query import Query

# with parameters, made once: making a statement takes longer than executing it
_MINE = or_(
    bindparam("sees_all", type_=Boolean),
    job.c.owner.is_not_distinct_from(bindparam("of_owner", type_=job.c.owner.type)),
)
_THIS = and_(job.c.id == bindparam("of_id"), job.c.deleted_at.is_(None), _MINE)
_VISIBLE = select(job).where(_THIS)
_SHARED = select(job.c.owner, job.c.expired_audio).where(_THIS).with_for_update()


class SqlJobs(SqlIdempotency, SqlUsage):
    def create(self, new: NewJob, *, reservation: Reservation | None = None) -> Job:
        with self.database.write() as connection:
            self.insert_job(connection, new)
            if reservation and not self.bind(connection, reservation, new.id):
                raise IdempotencyInFlight
            created = to_job(self._visible(connection, new.id))
        reached("after_create")
        return created

    def insert_job(self, connection: Connection, new: NewJob) -> None:
        """As `create`, in the caller's transaction. Raises JobNotFound and Expired of the job that it retries, ValidationFailed."""
        # not by the count of rows, which PostgreSQL's driver does not always know
        if connection.scalar(self.statement("create", self._insert), self._values(new)) is None:
            return
        self.add_hint(connection, new.id)
        if new.batch is not None:
            join(connection, new.id, new.batch, self.owner, all_jobs=self.all_jobs)
        if new.retry_of is not None:
            self._share_upload(connection, new.id, new.retry_of)
        row = self._visible(connection, new.id)
        if new.retry_of is None and (voices := asked_voices(new.params.known_speakers)):
            check_kept(connection, row.owner, voices)
        index.add(connection, self.database, row)

    def get(self, job_id: str) -> Job:
        with self.database.read() as connection:
            return to_job(self._visible(connection, job_id))

    def request_cancel(self, job_id: str) -> Job:
        return self.database.making_room(lambda: self._request_cancel(job_id))

    def request_delete(self, job_id: str) -> None:
        self.database.making_room(lambda: self._request_delete(job_id))

    def revise(self, job_id: str, new: Revision) -> Revision:
        with self.database.write() as connection:
            there = (job.c.status == JobStatus.COMPLETED, job.c.expired_result.is_(False))
            next_one = (
                update(job)
                .where(_THIS, *there, revisions.newest_is(new.number - 1))
                .values(revision=new.number, version=job.c.version + 1)
            )
            if connection.execute(next_one, self._this(job_id)).rowcount:
                index.mark(connection, self.database, job_id)
                return revisions.add(connection, self.database, job_id, new)
            row = self._visible(connection, job_id)
            newest = revisions.find(connection, job_id, row.revision or 0)
        if row.expired_result:
            raise Expired
        if newest and (newest.number, newest.sha256) == (new.number, new.sha256):
            return newest  # asked again, the answer having been lost
        raise RevisionConflict(revision=row.revision or 0)

    def revision(self, job_id: str, number: int) -> Revision:
        with self.database.read() as connection:
            self._visible(connection, job_id)
            found = revisions.find(connection, job_id, number)
        if found is None:
            raise RevisionNotFound
        return found

    def _request_cancel(self, job_id: str) -> Job:
        with self.database.write() as connection:
            row = self._cancel(connection, job_id)
            if row is None:
                row = self._visible(connection, job_id)
                if row.status != JobStatus.CANCELLING:
                    raise AlreadyTerminal
            elif row.status == JobStatus.CANCELLED:
                announce_end(connection, self.database, job_id, JobStatus.CANCELLED)
            return to_job(row)

    def _request_delete(self, job_id: str) -> None:
        with self.database.write() as connection:
            self._cancel(connection, job_id)
            hide = update(job).where(_THIS).values(deleted_at=self.database.wall(), version=job.c.version + 1)
            hidden = connection.execute(hide.returning(job.c.batch_id), self._this(job_id)).one_or_none()
            if hidden is None:
                raise JobNotFound
            index.drop(connection, job.c.id == job_id)
            withdraw(connection, job_id)
            if hidden.batch_id is not None:
                left(connection, self.database, hidden.batch_id)
            # the same request sent again is a new one now
            connection.execute(delete(idempotency).where(idempotency.c.job_id == job_id))

    def _cancel(self, connection: Connection, job_id: str) -> Row[Any] | None:
        """The row when this changed it."""
        waiting, running = job.c.status == JobStatus.QUEUED, job.c.status == JobStatus.PROCESSING
        end = end_values(JobStatus.CANCELLED, self.database.wall())
        row = connection.execute(
            update(job).where(_THIS, waiting).values(end).returning(job), self._this(job_id)
        ).first()
        if row is not None:
            drop_hints(connection, job_id)
            if row.batch_id is not None:
                left(connection, self.database, row.batch_id)
            return row
        return connection.execute(
            update(job)
            .where(_THIS, running)
            .values(status=JobStatus.CANCELLING, version=job.c.version + 1)
            .returning(job),
            self._this(job_id),
        ).first()

    def _this(self, job_id: str) -> dict[str, Any]:
        """The values that `_THIS` asks for."""
        return {"of_id": job_id, "of_owner": self.owner, "sees_all": self.all_jobs}

    def _visible(self, connection: Connection, job_id: str) -> Row[Any]:
        row = connection.execute(_VISIBLE, self._this(job_id)).first()
        if row is None:
            raise JobNotFound
        return row

    def _share_upload(self, connection: Connection, job_id: str, old: str) -> None:
        """Hold the old job whose upload this one shares, so that whoever removes it sees both or neither."""
        row = connection.execute(_SHARED, self._this(old)).one_or_none()
        if row is None:
            raise JobNotFound
        if row.expired_audio:
            raise Expired
        if row.owner != self.owner:
            connection.execute(update(job).where(job.c.id == job_id).values(owner=row.owner))
        take_place(connection, old, job_id)

    def _insert(self) -> Executable:
        row = self.database.insert(job).values(created_at=self.database.wall(), hint_due=self.database.now())
        statement: Executable = row.on_conflict_do_nothing(index_elements=["id"]).returning(job.c.id)
        return statement

    def _values(self, new: NewJob) -> dict[str, Any]:
        source = new.source
        return {
            "id": new.id,
            "owner": self.owner,
            "priority": CLASSES[new.params.priority] if new.priority is None else new.priority,
            "status": JobStatus.QUEUED,
            "stage": Phase.QUEUED,
            "filename": source.filename,
            "bytes": source.bytes,
            "media_type": source.media_type,
            "sha256": source.sha256,
            "source_key": source.key,
            "params": new.params.to_dict(),
            "samples_key": new.samples_key,
            "origin": source.origin.to_text() if source.origin else None,
            "retry_of": new.retry_of,
            "retry_all": new.retry_all,
            "caller": dict(new.caller) or None,
            "batch_id": new.batch,
            # what has options that are not known here, or comes from elsewhere, is for newer consumers
            "row_version": self.row_version + bool(new.params.unknown or (source.origin and not source.origin.known)),
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
        self, *, status: JobStatus | None = None, limit: int = 50, after: str | None = None, query: Query | None = None
    ) -> tuple[Sequence[Job], str | None]:
        if query is not None:
            found, following = self._found(select(job), query, status, limit, after)
            return [to_job(row) for row in found], following
        return self._all(status, limit, after)

    def search(
        self, query: Query, *, limit: int = 20, after: str | None = None
    ) -> tuple[Sequence[tuple[Job, Document]], str | None]:
        shown = select(job, search.c.text, search.c.places, search.c.words)
        found, following = self._found(shown, query, None, limit, after)
        return [(to_job(row), index.document_of(row)) for row in found], following

    def _found(
        self, shown: Select[Any], query: Query, status: JobStatus | None, limit: int, after: str | None
    ) -> tuple[Sequence[Row[Any]], str | None]:
        before = matches.read_cursor(after)
        there: list[ColumnElement[bool]] = [job.c.deleted_at.is_(None)]
        if not self.all_jobs:
            there.append(job.c.owner == self.owner)
        if status is not None:
            there.append(job.c.status == status)
        with self.database.read() as connection:
            page = matches.matching(
                connection,
                self.database,
                query,
                # the owner of nobody's jobs has no words of its own: who asks without a key sees all
                scope=None if self.all_jobs else self.owner,
                conditions=there,
                narrow=status is not None or (self.owner is None and not self.all_jobs),
                before=before,
                limit=limit,
            )
            if not page.numbers:
                return [], matches.cursor(page)
            these = shown.join(search, search.c.job_id == job.c.id).where(search.c.id.in_(page.numbers))
            return connection.execute(these.order_by(search.c.id.desc())).all(), matches.cursor(page)

    def _all(self, status: JobStatus | None, limit: int, after: str | None) -> tuple[Sequence[Job], str | None]:
        query = select(job).where(job.c.deleted_at.is_(None))
        if not self.all_jobs:
            query = query.where(job.c.owner == self.owner)  # None becomes IS NULL
        if status is not None:
            query = query.where(job.c.status == status)
        if after is not None:
            created_at, job_id = read_cursor(after)
            place = tuple_(literal(created_at, UtcDateTime), literal(job_id))
            query = query.where(tuple_(job.c.created_at, job.c.id) < place)
        query = query.order_by(job.c.created_at.desc(), job.c.id.desc()).limit(limit + 1)
        with self.database.read() as connection:
            jobs = [to_job(row) for row in connection.execute(query)]
        return jobs[:limit], cursor(jobs[limit - 1]) if len(jobs) > limit else None


def cursor(last: Job | Batch) -> str:
    """Where a page ends, for who asks for the next one."""
    return base64.urlsafe_b64encode(f"{last.created_at.isoformat()} {last.id}".encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[datetime, str]:
    """Raises ValidationFailed."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        created_at, _, job_id = text.partition(" ")
        moment = datetime.fromisoformat(created_at)
        if moment.tzinfo is None or not re.fullmatch(ID_PATTERN, job_id):
            raise ValueError
        return moment.astimezone(UTC), job_id
    except (ValueError, OverflowError):  # the latter for the first and the last hours that a datetime has
        raise ValidationFailed("`after` is not a cursor of this list.") from None
