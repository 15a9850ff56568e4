"""TaskStore on SQL: the parts of a job's work, each with a lease of its own.

No part waits for another: taking one shares the job's row, committing one leaves it alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Double,
    Executable,
    Integer,
    String,
    and_,
    bindparam,
    case,
    func,
    literal,
    null,
    or_,
    select,
    update,
)

from core.errors import LeaseLost
from core.jobs.job import TERMINAL, Claim
from core.jobs.tasks import TRANSCRIBE, Lease, Task, TaskState
from core.store.roles.rows import Role, to_task
from core.store.roles.running.claims import IS_CLAIMED, claim_values, lock
from core.store.roles.running.lines import HELD
from core.store.tables import job, task

# made once: making one takes longer than executing it
_OF_JOB = task.c.job_id == bindparam("of_job")
_OF_STAGE = and_(_OF_JOB, task.c.stage == bindparam("of_stage"))
_OF_TASK = and_(_OF_STAGE, task.c.number == bindparam("at"))
_LAST = select(func.max(task.c.number)).where(_OF_STAGE)
_TASKS = select(task).where(_OF_JOB).order_by(task.c.stage, task.c.number)
_TASKS_OF_STAGE = select(task).where(_OF_STAGE).order_by(task.c.number)
_WRITTEN = (
    update(job)
    .where(job.c.id == bindparam("of_job"))
    .values(
        row_version=case(
            (job.c.row_version < bindparam("by_version"), bindparam("by_version")), else_=job.c.row_version
        )
    )
)
_HELD = select(job.c.id).where(IS_CLAIMED)
_STATE = select(task.c.state).where(_OF_TASK)
_COMMIT = (
    update(task)
    .where(
        _OF_TASK,
        task.c.state == TaskState.PLANNED,
        task.c.fence == bindparam("by_fence"),
        task.c.owner == bindparam("by_owner"),
        select(job.c.id).where(job.c.id == task.c.job_id, job.c.status.not_in(TERMINAL)).exists(),
    )
    .values(
        state=bindparam("now_state"),
        output=bindparam("gave"),
        error=bindparam("problem"),
        engine_seconds=bindparam("took"),
        owner=null(),
        lease_until=null(),
    )
)
_NEW = {"state": TaskState.PLANNED, "engine_seconds": 0.0, "audio_seconds": 0.0, "crashes": 0, "fence": 0}


class SqlTasks(Role):
    def plan(self, claim: Claim, tasks: Sequence[Task]) -> None:
        """Append tasks of one stage, planned or done. Raises ValueError when they would leave a hole, LeaseLost."""
        if not tasks:
            return
        stage = tasks[0].stage
        rows = [
            _NEW
            | {"job_id": claim.job.id, "stage": stage, "number": one.number, "plan": one.plan, "identity": one.identity}
            | {"audio_seconds": one.audio_seconds, "engine_seconds": one.engine_seconds}
            | {"state": one.state, "output": one.output}
            for one in tasks
        ]
        with self.database.write() as connection:
            lock(connection, claim)
            last = connection.scalar(_LAST, {"of_job": claim.job.id, "of_stage": stage})
            after = 0 if last is None else last + 1
            numbers = [one.number for one in tasks]
            if numbers[0] > after or numbers != list(range(numbers[0], numbers[0] + len(tasks))):
                raise ValueError(f"{stage} {numbers[0]}..{numbers[-1]} do not continue a plan of {after}")
            insert = self.database.insert(task).on_conflict_do_nothing(index_elements=["job_id", "stage", "number"])
            connection.execute(insert, rows)
            connection.execute(_WRITTEN, {"of_job": claim.job.id, "by_version": self.row_version})

    def tasks(self, job_id: str, stage: str | None = None, numbers: Collection[int] | None = None) -> list[Task]:
        asked, which = (_TASKS, {}) if stage is None else (_TASKS_OF_STAGE, {"of_stage": stage})
        if numbers is not None:
            asked = asked.where(task.c.number.in_(numbers))
        with self.database.read() as connection:
            return [to_task(row) for row in connection.execute(asked, {"of_job": job_id} | which)]

    def take(self, claim: Claim, part: Task) -> Lease | None:
        """The lease of a task for the job's owner, as long as the job's own; None when it is ended or another's.

        A task that was not planned before is stored with it. Raises LeaseLost.
        """
        with self.database.write() as connection:
            take = self.statement("take", lambda: self._taking(owned=True))
            row = connection.execute(take, self._place(claim.job.id, part, claim.owner) | claim_values(claim)).first()
            if row is None:
                if connection.scalar(_HELD, claim_values(claim)) is None:
                    raise LeaseLost
                return None
        return _lease(claim.job.id, part, claim.owner, row.fence, row.crashes)

    def help_with(self, job_id: str, part: Task, *, owner: str, lease_seconds: float) -> Lease | None:
        """The lease of a task for another consumer than the job's owner; None when it is not to be had."""
        with self.database.write() as connection:
            take = self.statement("help", lambda: self._taking(owned=False))
            row = connection.execute(take, self._place(job_id, part, owner) | {"seconds": lease_seconds}).first()
        return None if row is None else _lease(job_id, part, owner, row.fence, row.crashes)

    def renew_lease(self, lease: Lease, lease_seconds: float) -> None:
        """A helper's sign of life; the owner's leases are renewed with the job's. Raises LeaseLost."""
        with self.database.write() as connection:
            renewed = connection.execute(
                update(task)
                .where(
                    _OF_TASK,
                    task.c.state == TaskState.PLANNED,
                    task.c.fence == lease.fence,
                    task.c.owner == lease.owner,
                )
                .values(lease_until=self.database.now() + lease_seconds),
                {"of_job": lease.job_id, "of_stage": lease.stage, "at": lease.number},
            )
        if not renewed.rowcount:
            raise LeaseLost

    def commit(self, lease: Lease, part: Task) -> bool:
        """Store what came of a task. Returns False when it was ended before. Raises ValueError for a planned one, LeaseLost."""
        if not part.ended:
            raise ValueError("only a done or failed task can be committed")
        place = {"of_job": lease.job_id, "of_stage": lease.stage, "at": lease.number}
        with self.database.write() as connection:
            stored = connection.execute(
                _COMMIT,
                place
                | {"by_fence": lease.fence, "by_owner": lease.owner}
                | {"now_state": part.state, "gave": part.output, "problem": part.error}
                | {"took": part.engine_seconds},
            )
            if stored.rowcount:
                return True
            if connection.scalar(_STATE, place) in (TaskState.DONE, TaskState.FAILED):
                return False
        raise LeaseLost

    def adopt(self, claim: Claim, from_job: str, identities: Mapping[str, str]) -> int:
        """Take over another job's tasks of the stages whose identity is the same, the failed ones to be done anew.

        Returns how many chunks are done.
        """
        done = task.c.state == TaskState.DONE
        chunks = (task.c.job_id == claim.job.id) & (task.c.stage == TRANSCRIBE)
        with self.database.write() as connection:
            lock(connection, claim)
            for stage, identity in identities.items():
                taken = {
                    "job_id": literal(claim.job.id),
                    "stage": task.c.stage,
                    "number": task.c.number,
                    "plan": task.c.plan,
                    "state": case((done, TaskState.DONE.value), else_=TaskState.PLANNED.value),
                    "output": task.c.output,
                    "identity": task.c.identity,
                    "engine_seconds": case((done, task.c.engine_seconds), else_=0.0),
                    "audio_seconds": task.c.audio_seconds,
                    "crashes": literal(0),
                    "fence": literal(0),
                }
                rows = select(*taken.values()).where(
                    task.c.job_id == from_job, task.c.stage == stage, task.c.identity == identity
                )
                insert = self.database.insert(task).from_select(list(taken), rows)
                connection.execute(insert.on_conflict_do_nothing(index_elements=["job_id", "stage", "number"]))
            ended = chunks & (task.c.state != TaskState.PLANNED)
            total = select(func.count(), func.coalesce(func.sum(task.c.audio_seconds), 0.0)).where(ended)
            count, seconds = connection.execute(total).one()
            if count:
                connection.execute(
                    update(job)
                    .where(job.c.id == claim.job.id)
                    .values(chunks_done=count, audio_seconds_done=seconds, version=job.c.version + 1)
                )
            return connection.scalar(select(func.count()).where(chunks, done)) or 0

    def _taking(self, *, owned: bool) -> Executable:
        """Insert or take over in one statement. Who works on the task already is not disturbed while its lease lasts."""
        now = self.database.now()
        until = job.c.lease_until if owned else now + bindparam("seconds", type_=Double)
        allowed = IS_CLAIMED if owned else and_(job.c.id == bindparam("of_job"), job.c.status.in_(HELD))
        row = {
            "job_id": job.c.id,
            "stage": bindparam("of_stage", type_=String),
            "number": bindparam("at", type_=Integer),
            "plan": bindparam("new_plan", type_=task.c.plan.type),
            "identity": bindparam("new_identity", type_=String),
            **{name: literal(getattr(value, "value", value)) for name, value in (_NEW | {"fence": 1}).items()},
            "owner": bindparam("by_owner", type_=String),
            "lease_until": until,
            "job_fence": job.c.fence,
        }
        of = select(*row.values()).where(allowed)
        if owned:
            # FOR SHARE: a successor's claim comes before or after, never in between. SQLite has one writer at a time
            of = of.with_for_update(read=True)
        insert = self.database.insert(task).from_select(list(row), of)
        mine = task.c.owner == insert.excluded.owner
        taking: Executable = insert.on_conflict_do_update(
            index_elements=["job_id", "stage", "number"],
            set_={
                "owner": insert.excluded.owner,
                "lease_until": insert.excluded.lease_until,
                "job_fence": insert.excluded.job_fence,
                # the same owner, twice: both leases are one, and what either makes of the task can be committed
                "fence": task.c.fence + case((mine, 0), else_=1),
                "crashes": task.c.crashes + case((or_(task.c.owner.is_(None), mine), 0), else_=1),
            },
            where=and_(task.c.state == TaskState.PLANNED, or_(task.c.owner.is_(None), mine, task.c.lease_until < now)),
        ).returning(task.c.fence, task.c.crashes)
        return taking

    def _place(self, job_id: str, part: Task, owner: str) -> dict[str, Any]:
        return {
            "of_job": job_id,
            "of_stage": part.stage,
            "at": part.number,
            "new_plan": part.plan,
            "new_identity": part.identity,
            "by_owner": owner,
        }


def _lease(job_id: str, part: Task, owner: str, fence: int, crashes: int) -> Lease:
    return Lease(job_id=job_id, stage=part.stage, number=part.number, owner=owner, fence=fence, crashes=crashes)
