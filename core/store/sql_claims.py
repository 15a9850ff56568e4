"""Claims on SQL: owning a job. Every write of an owner is guarded by its fence and its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, ScalarSelect, and_, case, not_, or_, select, union_all, update

from core.errors import Cancelled, LeaseLost, WorkerCrashed
from core.jobs import ChunkState, Claim, JobFailure, JobStatus, Stage
from core.store.database import Database
from core.store.rows import Role, add_hint, drop_hints, ended, expired, to_job, unleased
from core.store.tables import STRUCK, chunk, job

SHORT_SECONDS = 600.0
SHORT_BYTES = 19_200_000
"""A short job is under 10 minutes of audio; where the duration is not known yet, under 10 minutes of 16 kHz PCM."""

LEARNT = frozenset({
    "stage", "duration", "speech_seconds", "language", "language_confidence", "plan_hash", "chunks_total",
    "eta_seconds", "warnings", "performance",
})  # fmt: skip
"""What `progress` may write."""

HELD = (JobStatus.PROCESSING, JobStatus.CANCELLING)


class SqlClaims(Role):
    def claim(
        self, *, owner: str, consumer: str, lease_seconds: float, short_only: bool = False, max_attempts: int = 3
    ) -> Claim | None:
        """Take the first waiting job (priority, then age) or None.

        Here also ends what nobody else will (see `sweep`), so that a job which kills every owner is not
        taken again; jobs of a newer row version are left to newer consumers.
        """
        with self.database.write() as connection:
            now = self.database.now()
            end_lost(self.database, connection, max_attempts)
            row = connection.execute(
                update(job)
                .where(job.c.id == self._first(now, short_only, max_attempts))
                .values(
                    status=JobStatus.PROCESSING,
                    stage=Stage.DECODING,
                    fence=job.c.fence + 1,
                    attempts=job.c.attempts + 1,
                    strikes=job.c.strikes + case((job.c.status == JobStatus.PROCESSING, 1), else_=0),
                    started_at=case((job.c.started_at.is_(None), self.database.wall()), else_=job.c.started_at),
                    lease_owner=owner,
                    consumer=consumer,
                    lease_until=now + lease_seconds,
                    not_before=None,
                    hint_due=now,
                    hint_wait=0.0,
                    version=job.c.version + 1,
                )
                .returning(job)
            ).first()
            if row is None:
                return None
            in_flight = _count_crashes(connection, row.id, row.fence - 1)
        return Claim(job=to_job(row), fence=row.fence, owner=owner, in_flight=in_flight)

    def heartbeat(self, claim: Claim, lease_seconds: float) -> None:
        with self.database.write() as connection:
            renewed = self.database.now() + lease_seconds
            _changed(connection.execute(update(job).where(held_by(claim)).values(lease_until=renewed)).rowcount)

    def release(self, claim: Claim, *, delay: float = 0.0, count_attempt: bool = False) -> None:
        """Hand the job back; one whose cancel is requested ends here. Raises LeaseLost."""
        with self.database.write() as connection:
            if lock(connection, claim) == JobStatus.CANCELLING:
                _end(self.database, connection, claim.job.id, JobStatus.CANCELLED)
                return
            now = self.database.now()
            counted = {"strikes": job.c.strikes + 1} if count_attempt else {"attempts": job.c.attempts - 1}
            back = {
                "status": JobStatus.QUEUED, "stage": Stage.QUEUED,
                "not_before": now + delay, "hint_due": now + delay, "hint_wait": 0.0,
            }  # fmt: skip
            connection.execute(update(job).where(job.c.id == claim.job.id).values(unleased() | back | counted))
            # handed back in good order: these did not crash anything
            connection.execute(update(chunk).where(chunk.c.job_id == claim.job.id).values(started_fence=None))
            add_hint(connection, claim.job.id, now + delay)

    def free_owner(self, owner: str) -> list[str]:
        """Expire the leases of a dead process at once; were it alive after all, it has lost them."""
        dead = update(job).where(job.c.lease_owner == owner, job.c.status.in_(HELD))
        with self.database.write() as connection:
            freed = dead.values(unleased()).returning(job.c.id, job.c.status)
            rows = connection.execute(freed).all()
            for row in rows:
                if row.status == JobStatus.CANCELLING:
                    _end(self.database, connection, row.id, JobStatus.CANCELLED)
        return [row.id for row in rows]

    def held(self, consumer: str) -> list[tuple[str, str, bool]]:
        query = select(job.c.id, job.c.lease_owner, job.c.status == JobStatus.CANCELLING)
        with self.database.read() as connection:
            rows = connection.execute(query.where(job.c.status.in_(HELD), job.c.consumer == consumer))
            return [(job_id, owner, bool(cancel)) for job_id, owner, cancel in rows]

    def progress(self, claim: Claim, **fields: Any) -> None:
        if unknown := fields.keys() - LEARNT:
            raise ValueError(f"progress cannot write {', '.join(sorted(unknown))}")
        if "warnings" in fields:
            fields["warnings"] = list(fields["warnings"])
        with self.database.write() as connection:
            change = update(job).where(held_by(claim)).values(**fields, version=job.c.version + 1)
            _changed(connection.execute(change).rowcount)

    def finish(
        self, claim: Claim, *, result_key: str, partial: bool, gaps: Sequence[dict[str, Any]],
        warnings: Sequence[dict[str, str]], performance: dict[str, Any],
    ) -> None:  # fmt: skip
        values = {
            "result_key": result_key, "partial": partial, "gaps": list(gaps), "warnings": list(warnings),
            "performance": performance,
        }  # fmt: skip
        self._end_own(claim, JobStatus.COMPLETED, values)

    def fail(self, claim: Claim, failure: JobFailure) -> None:
        """-> failed. Raises Cancelled when a cancel came first (the job is cancelled then), LeaseLost."""
        self._end_own(claim, JobStatus.FAILED, {"error": failure.to_dict()})

    def cancelled(self, claim: Claim) -> None:
        with self.database.write() as connection:
            if _outcome(connection, claim) == JobStatus.CANCELLED:
                return
            if lock(connection, claim) != JobStatus.CANCELLING:
                raise LeaseLost("Nobody asked for this job to be cancelled.")
            _end(self.database, connection, claim.job.id, JobStatus.CANCELLED)

    def _end_own(self, claim: Claim, status: JobStatus, values: dict[str, Any]) -> None:
        with self.database.write() as connection:
            # an answer may have been lost on its way: asking again for the end that came is no error
            came = _outcome(connection, claim) or lock(connection, claim)
            if came == JobStatus.CANCELLING:
                _end(self.database, connection, claim.job.id, JobStatus.CANCELLED)
            elif came == JobStatus.PROCESSING:
                _end(self.database, connection, claim.job.id, status, values)
        if came in (JobStatus.CANCELLING, JobStatus.CANCELLED):
            raise Cancelled
        if came not in (JobStatus.PROCESSING, status):
            raise LeaseLost

    def _first(self, now: ColumnElement[float], short_only: bool, max_attempts: int) -> ScalarSelect[str]:
        """Id of the first waiting job; locked, and those that others have locked are passed over.

        Each half walks the index in the order wanted and stops at its first hit, however many jobs wait.
        """
        ready = [job.c.row_version <= self.row_version]
        if short_only:
            unknown = and_(job.c.duration.is_(None), job.c.bytes <= SHORT_BYTES)
            ready.append(or_(job.c.duration < SHORT_SECONDS, unknown))
        due = or_(job.c.not_before.is_(None), job.c.not_before <= now)
        fresh = [job.c.status == JobStatus.QUEUED, due, not_(_tried_out(max_attempts))]
        lost = [job.c.status == JobStatus.PROCESSING, expired(now), not_(_worn_out(max_attempts))]
        order = (job.c.priority.desc(), job.c.created_at, job.c.id)
        halves = [
            select(job.c.id, job.c.priority, job.c.created_at).where(*half, *ready).order_by(*order).limit(1)
            .with_for_update(skip_locked=True).subquery()
            for half in (fresh, lost)
        ]  # fmt: skip
        both = union_all(*(select(half) for half in halves)).subquery()
        pick = select(both.c.id).order_by(both.c.priority.desc(), both.c.created_at, both.c.id).limit(1)
        return pick.scalar_subquery()


def held_by(claim: Claim) -> ColumnElement[bool]:
    """The guard of every write: this owner, this fence, not ended."""
    return and_(
        job.c.id == claim.job.id,
        job.c.fence == claim.fence,
        job.c.lease_owner == claim.owner,
        job.c.status.in_(HELD),
    )


def lock(connection: Connection, claim: Claim) -> JobStatus:
    """Hold the job's row until the transaction ends; returns its status. Raises LeaseLost."""
    status = connection.scalar(select(job.c.status).where(held_by(claim)).with_for_update(key_share=True))
    if status is None:
        raise LeaseLost
    return JobStatus(status)


def end_lost(database: Database, connection: Connection, max_attempts: int, *, waiting: bool = False) -> dict[str, int]:
    """End jobs whose owner is gone and which shall not run again; returns how many by status.

    A lease that ran out is a crash; `strikes` counts the crashes before it.
    waiting: look through the queued jobs too, for attempts that were counted when they were handed back
    """
    now = database.now()
    cancelled = and_(job.c.status == JobStatus.CANCELLING, expired(now))
    crashed = and_(job.c.status == JobStatus.PROCESSING, expired(now), _worn_out(max_attempts))
    gone = [cancelled, crashed]
    if waiting:
        gone.append(and_(job.c.status == JobStatus.QUEUED, STRUCK, _tried_out(max_attempts)))
    lost = select(job.c.id, job.c.status, job.c.stage).where(or_(*gone)).with_for_update(skip_locked=True)
    counts = {"cancelled": 0, "failed": 0}
    for row in connection.execute(lost).all():
        if row.status == JobStatus.CANCELLING:
            _end(database, connection, row.id, JobStatus.CANCELLED)
            counts["cancelled"] += 1
        else:
            crash = WorkerCrashed()
            failure = JobFailure(code=crash.code, message=crash.message, stage=row.stage, retryable=crash.retryable)
            _end(database, connection, row.id, JobStatus.FAILED, {"error": failure.to_dict()})
            counts["failed"] += 1
    return counts


def _worn_out(max_attempts: int) -> ColumnElement[bool]:
    """Its last owner crashed, for the max_attempts-th time in a row without a chunk getting done.

    One claim more when other chunks are done and one has been in flight at as many crashes: that one will be given up
    (`worker_crashed`) instead of the whole job.
    """
    crashes = chunk.c.crashes + case((chunk.c.started_fence == job.c.fence, 1), else_=0)
    poison = and_(chunk.c.state == ChunkState.PLANNED, crashes >= max_attempts)
    return and_(job.c.strikes + 1 >= max_attempts, not_(and_(job.c.strikes + 1 == max_attempts, _past(poison))))


def _tried_out(max_attempts: int) -> ColumnElement[bool]:
    """Of a waiting job: as `_worn_out`, its owners having handed it back. The one claim more may have been handed back too."""
    return and_(job.c.strikes >= max_attempts, not_(and_(job.c.strikes == max_attempts, _past(chunk.c.crashes >= max_attempts))))


def _past(poison: ColumnElement[bool]) -> ColumnElement[bool]:
    """The job has chunks that are done, and such a one."""
    return and_(job.c.chunks_done > 0, select(chunk.c.number).where(chunk.c.job_id == job.c.id, poison).correlate(job).exists())


def _end(
    database: Database, connection: Connection, job_id: str, status: JobStatus, values: dict[str, Any] | None = None
) -> None:
    """The caller holds the row."""
    connection.execute(update(job).where(job.c.id == job_id).values(ended(status, database.wall()) | (values or {})))
    drop_hints(connection, job_id)


def _outcome(connection: Connection, claim: Claim) -> JobStatus | None:
    """How the job ended under this very claim, if it has."""
    terminal = job.c.status.in_((JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED))
    mine = and_(job.c.id == claim.job.id, job.c.fence == claim.fence, terminal)
    status = connection.scalar(select(job.c.status).where(mine))
    return JobStatus(status) if status else None


def _count_crashes(connection: Connection, job_id: str, fence: int) -> tuple[int, ...]:
    """Chunks that were running when the owner of that fence was lost: each has seen one more crash."""
    running = (chunk.c.job_id == job_id) & (chunk.c.state == ChunkState.PLANNED) & (chunk.c.started_fence == fence)
    counted = update(chunk).where(running).values(crashes=chunk.c.crashes + 1).returning(chunk.c.number)
    return tuple(sorted(connection.scalars(counted)))


def _changed(rows: int) -> None:
    if not rows:
        raise LeaseLost
