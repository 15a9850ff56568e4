"""Claims on SQL: owning a job. Every write of an owner is guarded by its fence and its name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Double, Select, Update, and_, bindparam, or_, select, update

from core.errors import Cancelled, LeaseLost
from core.jobs.job import Claim, JobFailure, JobStatus, Phase, Source
from core.jobs.tasks import TaskState
from core.jobs.turns import AGE_SECONDS, INTERACTIVE, Only
from core.store.roles.rows import no_lease_values, to_job
from core.store.roles.running.ending import strikes
from core.store.roles.running.lines import HELD, Lines
from core.store.tables import job, task

LEARNT = frozenset(
    {
        "stage",
        "duration",
        "speech_seconds",
        "language",
        "language_confidence",
        "plan_hash",
        "chunks_total",
        "chunks_done",
        "audio_seconds_done",
        "eta_seconds",
        "diarized",
        "warnings",
        "performance",
    }
)
"""What `progress` may write."""

IS_CLAIMED = and_(
    job.c.id == bindparam("held_id"),
    job.c.fence == bindparam("held_fence"),
    job.c.lease_owner == bindparam("held_owner"),
    job.c.status.in_(HELD),
)
"""The guard of every write: this owner, this fence, not ended. Its values are `claim_values(claim)`."""

_OF_JOB = task.c.job_id == bindparam("of_job")
_OWN = and_(_OF_JOB, task.c.state == TaskState.PLANNED, task.c.owner == bindparam("by"))
_SECONDS = bindparam("seconds", type_=Double)
_LOCK = select(job.c.status).where(IS_CLAIMED).with_for_update(key_share=True)
_OUTCOME = select(job.c.status).where(
    job.c.id == bindparam("held_id"),
    job.c.fence == bindparam("held_fence"),
    job.c.status.in_((JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)),
)
_HELD_OF = select(job.c.id, job.c.lease_owner, job.c.status == JobStatus.CANCELLING).where(
    job.c.status.in_(HELD), job.c.consumer == bindparam("of_consumer")
)


def claim_values(claim: Claim) -> dict[str, Any]:
    return {"held_id": claim.job.id, "held_fence": claim.fence, "held_owner": claim.owner}


def _learn(names: Iterable[str]) -> Update:
    values = {name: bindparam(f"new_{name}", type_=job.c[name].type) for name in names}
    return update(job).where(IS_CLAIMED).values(**values, version=job.c.version + 1)


class SqlClaims(Lines):
    def claim(
        self,
        *,
        owner: str,
        consumer: str,
        lease_seconds: float,
        only: Only = Only.ANY,
        max_attempts: int = 3,
        age_seconds: float = AGE_SECONDS,
    ) -> Claim | None:
        """Take the waiting job whose turn it is (`core.store.roles.running.lines`) or None.

        Here also ends what nobody else will (see `sweep`), so that a job which kills every owner is not
        taken again; jobs of a newer row version are left to newer consumers.
        """
        with self.database.write() as connection:
            self.end_abandoned(connection, max_attempts)
            row = self.take_first(
                connection,
                {"by": owner, "at": consumer, "seconds": lease_seconds},
                only=only,
                max_attempts=max_attempts,
                age_seconds=age_seconds,
            )
            if row is None:
                return None
            lost = self.statement("lost tasks", lambda: _freed(and_(_OF_JOB, task.c.lease_until < self.database.now())))
            connection.execute(lost, {"of_job": row.id})
        return Claim(job=to_job(row), fence=row.fence, owner=owner)

    def heartbeat(self, claim: Claim, lease_seconds: float) -> None:
        with self.database.write() as connection:
            renew = self.statement(
                "renew", lambda: update(job).where(IS_CLAIMED).values(lease_until=self.database.now() + _SECONDS)
            )
            _changed(connection.execute(renew, claim_values(claim) | {"seconds": lease_seconds}).rowcount)
            parts = self.statement(
                "renew tasks", lambda: update(task).where(_OWN).values(lease_until=self.database.now() + _SECONDS)
            )
            connection.execute(parts, {"of_job": claim.job.id, "by": claim.owner, "seconds": lease_seconds})

    def release(self, claim: Claim, *, delay: float = 0.0, count_attempt: bool = False) -> None:
        """Hand the job back; one whose cancel is requested ends here. Raises LeaseLost."""
        with self.database.write() as connection:
            if lock(connection, claim) == JobStatus.CANCELLING:
                self.end(connection, claim.job.id, JobStatus.CANCELLED)
                return
            now = self.database.now()
            counted = {"strikes": strikes() + 1}
            if not count_attempt:
                counted = {"strikes": strikes(), "attempts": job.c.attempts - 1}
            back = {
                "status": JobStatus.QUEUED,
                "stage": Phase.QUEUED,
                "not_before": now + delay,
                "hint_due": now + delay,
                "hint_wait": 0.0,
            }
            connection.execute(update(job).where(job.c.id == claim.job.id).values(no_lease_values() | back | counted))
            # handed back in good order: these did not crash anything
            back_too = update(task).where(_OWN).values(owner=None, lease_until=None, fence=task.c.fence + 1)
            connection.execute(back_too, {"of_job": claim.job.id, "by": claim.owner})
            self.add_hint(connection, claim.job.id, delay)

    def free_owner(self, owner: str) -> list[str]:
        """Expire the leases of a dead process at once; were it alive after all, it has lost them."""
        dead = update(job).where(job.c.lease_owner == owner, job.c.status.in_(HELD))
        with self.database.write() as connection:
            freed = dead.values(no_lease_values()).returning(job.c.id, job.c.status)
            rows = connection.execute(freed).all()
            connection.execute(_freed(task.c.owner == owner))
            for row in rows:
                if row.status == JobStatus.CANCELLING:
                    self.end(connection, row.id, JobStatus.CANCELLED)
        return [row.id for row in rows]

    def urgent(self) -> str | None:
        with self.database.read() as connection:
            found = self.statement("urgent", self._urgent)
            first: str | None = connection.scalar(found)
            return first

    def held(self, consumer: str) -> list[tuple[str, str, bool]]:
        with self.database.read() as connection:
            rows = connection.execute(_HELD_OF, {"of_consumer": consumer})
            return [(job_id, owner, bool(cancel)) for job_id, owner, cancel in rows]

    def progress(self, claim: Claim, **fields: Any) -> None:
        if unknown := fields.keys() - LEARNT:
            raise ValueError(f"progress cannot write {', '.join(sorted(unknown))}")
        if "warnings" in fields:
            fields["warnings"] = list(fields["warnings"])
        with self.database.write() as connection:
            change = self.statement(("learn", *fields), lambda: _learn(fields))
            learnt = {f"new_{name}": value for name, value in fields.items()}
            _changed(connection.execute(change, claim_values(claim) | learnt).rowcount)

    def brought(self, claim: Claim, source: Source) -> None:
        values = {
            "bytes": source.bytes,
            "media_type": source.media_type,
            "sha256": source.sha256,
            "source_key": source.key,
            "origin": None,
            "version": job.c.version + 1,
        }
        with self.database.write() as connection:
            here = update(job).where(IS_CLAIMED).values(values)
            _changed(connection.execute(here, claim_values(claim)).rowcount)

    def finish(
        self,
        claim: Claim,
        *,
        result_key: str,
        partial: bool,
        gaps: Sequence[dict[str, Any]],
        warnings: Sequence[dict[str, str]],
        performance: dict[str, Any],
    ) -> None:
        values = {
            "result_key": result_key,
            "partial": partial,
            "gaps": list(gaps),
            "warnings": list(warnings),
            "performance": performance,
        }
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
            self.end(connection, claim.job.id, JobStatus.CANCELLED)

    def _end_own(self, claim: Claim, status: JobStatus, values: dict[str, Any]) -> None:
        with self.database.write() as connection:
            # an answer may have been lost on its way: asking again for the end that came is no error
            came = _outcome(connection, claim) or lock(connection, claim)
            if came == JobStatus.CANCELLING:
                self.end(connection, claim.job.id, JobStatus.CANCELLED)
            elif came == JobStatus.PROCESSING:
                self.end(connection, claim.job.id, status, values)
        if came in (JobStatus.CANCELLING, JobStatus.CANCELLED):
            raise Cancelled
        if came not in (JobStatus.PROCESSING, status):
            raise LeaseLost

    def _urgent(self) -> Select[Any]:
        due = or_(job.c.not_before.is_(None), job.c.not_before <= self.database.now())
        waits = and_(job.c.status == JobStatus.QUEUED, job.c.priority >= INTERACTIVE, due)
        return select(job.c.id).where(waits).order_by(job.c.priority.desc(), job.c.created_at).limit(1)


def lock(connection: Connection, claim: Claim) -> JobStatus:
    """Hold the job's row until the transaction ends; returns its status. Raises LeaseLost."""
    status = connection.scalar(_LOCK, claim_values(claim))
    if status is None:
        raise LeaseLost
    return JobStatus(status)


def _outcome(connection: Connection, claim: Claim) -> JobStatus | None:
    """How the job ended under this very claim, if it has."""
    status = connection.scalar(_OUTCOME, {"held_id": claim.job.id, "held_fence": claim.fence})
    return JobStatus(status) if status else None


def _freed(lost: ColumnElement[bool]) -> Update:
    """Tasks whose owner died: each has seen one more crash."""
    return (
        update(task)
        .where(task.c.state == TaskState.PLANNED, task.c.owner.is_not(None), lost)
        .values(owner=None, lease_until=None, fence=task.c.fence + 1, crashes=task.c.crashes + 1)
    )


def _changed(rows: int) -> None:
    if not rows:
        raise LeaseLost
