"""The lines in which jobs wait on SQL, one for each owner and priority, and whose turn it is.

The database finds the first of each line, by an index, however many wait; `core.jobs.turns` puts those in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Executable,
    Row,
    ScalarSelect,
    Select,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    not_,
    or_,
    select,
    union_all,
    update,
)

from core.jobs.job import JobStatus, Phase
from core.jobs.turns import INTERACTIVE, Only, Waiting, in_turn
from core.store.roles.rows import expired
from core.store.roles.running.ending import Ending, out_of_attempts, out_of_attempts_waiting, strikes
from core.store.tables import SHORT, job, served

HELD = (JobStatus.PROCESSING, JobStatus.CANCELLING)

LOST: ColumnElement[int] = literal_column("1")
WAITS: ColumnElement[int] = literal_column("0")
"""Of a job whose owner is gone, and of one that nobody has."""


class Lines(Ending):
    """Base of the role that claims."""

    def take_first(
        self, connection: Connection, values: Mapping[str, Any], *, only: Only, max_attempts: int, age_seconds: float
    ) -> Row[Any] | None:
        """Take the job whose turn it is. values: those that `_taken` asks for"""
        first = self.statement(("first", only, max_attempts), lambda: self._first_of_each(only, max_attempts))
        rows = connection.execute(first).all()
        for row in self._in_turn(connection, rows, age_seconds):
            # who is at the head of a line may be another's at this moment: then it is the next one's turn
            kind = ("take", only, max_attempts, row.lost, row.owner is None)
            take = self.statement(kind, lambda row=row: self._take(only, max_attempts, row))  # type: ignore[misc]
            place = {"of_id": row.id} if row.lost else {"of_line": row.priority}
            if not row.lost and row.owner is not None:
                place["of_owner"] = row.owner
            if (taken := connection.execute(take, {**values, **place}).first()) is not None:
                self._serve(connection, taken.owner or "")
                return taken
        return None

    def _in_turn(self, connection: Connection, rows: Sequence[Row[Any]], age_seconds: float) -> list[Row[Any]]:
        owners = {row.owner for row in rows}
        running: dict[str | None, int] = {}
        if len(owners) > 1:
            count = self.statement("running", self._running)
            running = {row[0]: row[1] for row in connection.execute(count)}
        by_id = {row.id: row for row in rows}
        order = in_turn(
            [Waiting(id=row.id, owner=row.owner, priority=row.priority, since=row.created_at) for row in rows],
            now=max((row.now for row in rows), default=None),  # type: ignore[arg-type]
            age_seconds=age_seconds,
            running=running,
            served={row.owner: row.at for row in rows if row.at is not None},
        )
        return [by_id[one.id] for one in order]

    def _first_of_each(self, only: Only, max_attempts: int) -> Select[Any]:
        """The first job of each line that can be taken, and those whose owner is gone; when their owners last had a turn."""
        ready, gone = self._ready(only, max_attempts), self._gone(only, max_attempts)
        lost = select(job.c.id, job.c.owner, job.c.priority, job.c.created_at, LOST.label("lost")).where(*gone)
        found = union_all(self._heads(True, only, ready), self._heads(False, only, ready), lost).subquery("found")
        turn = found.outerjoin(served, served.c.owner == func.coalesce(found.c.owner, ""))
        return select(found, served.c.at, self.database.wall().label("now")).select_from(turn)

    def _heads(self, keyed: bool, only: Only, ready: Sequence[ColumnElement[bool]]) -> Select[Any]:
        line, head = _line(keyed), job.alias("head_of_keyed" if keyed else "head")
        same = job.c.owner == line.c.owner if keyed else job.c.owner.is_(None)
        first = (
            select(job.c.id)
            .where(job.c.status == JobStatus.QUEUED, same, job.c.priority == line.c.priority, *ready)
            .order_by(job.c.created_at, job.c.id)
            .limit(1)
            .correlate(line)
            .scalar_subquery()
        )
        columns = (head.c.id, head.c.owner, head.c.priority, head.c.created_at)
        heads = select(*columns, WAITS.label("lost")).select_from(line.join(head, head.c.id == first))
        # none of the other lines is gone through in vain
        return heads.where(line.c.priority >= INTERACTIVE) if only is Only.INTERACTIVE else heads

    def _ready(self, only: Only, max_attempts: int) -> list[ColumnElement[bool]]:
        due = or_(job.c.not_before.is_(None), job.c.not_before <= self.database.now())
        return [due, not_(out_of_attempts_waiting(max_attempts)), *self._allowed(only)]

    def _gone(self, only: Only, max_attempts: int) -> list[ColumnElement[bool]]:
        now = self.database.now()
        lost = [job.c.status == JobStatus.PROCESSING, expired(now), not_(out_of_attempts(max_attempts, now))]
        return [*lost, *self._allowed(only)]

    def _allowed(self, only: Only) -> list[ColumnElement[bool]]:
        known = job.c.row_version <= self.row_version
        if only is Only.SHORT:
            return [known, SHORT]
        return [known, job.c.priority >= INTERACTIVE] if only is Only.INTERACTIVE else [known]

    def _take(self, only: Only, max_attempts: int, like: Row[Any]) -> Executable:
        """Take the first of a line; rows that others have locked are passed over. like: what the statement is for"""
        first = select(job.c.id)
        if like.lost:
            first = first.where(job.c.id == bindparam("of_id"), *self._gone(only, max_attempts))
        else:
            mine = job.c.owner.is_(None) if like.owner is None else job.c.owner == bindparam("of_owner")
            first = first.where(
                job.c.status == JobStatus.QUEUED,
                mine,
                job.c.priority == bindparam("of_line"),
                *self._ready(only, max_attempts),
            ).order_by(job.c.created_at, job.c.id)
        place = first.limit(1).with_for_update(skip_locked=True).subquery()
        return update(job).where(job.c.id == select(place.c.id).scalar_subquery()).values(self._taken()).returning(job)

    def _taken(self) -> dict[str, Any]:
        now = self.database.now()
        return {
            "status": JobStatus.PROCESSING,
            "stage": Phase.DECODING,
            "fence": job.c.fence + 1,
            "attempts": job.c.attempts + 1,
            "strikes": case((job.c.status == JobStatus.PROCESSING, strikes() + 1), else_=job.c.strikes),
            "started_at": case((job.c.started_at.is_(None), self.database.wall()), else_=job.c.started_at),
            "lease_owner": bindparam("by"),
            "consumer": bindparam("at"),
            "lease_until": now + bindparam("seconds", type_=job.c.lease_until.type),
            "not_before": None,
            "hint_due": now,
            "hint_wait": 0.0,
            "version": job.c.version + 1,
        }

    def _running(self) -> Select[Any]:
        at_work = and_(job.c.status.in_(HELD), job.c.lease_until > self.database.now())
        return select(job.c.owner, func.count()).where(at_work).group_by(job.c.owner)

    def _serve(self, connection: Connection, owner: str) -> None:
        """Note an owner's turn. Nobody waits for another who does just that: the two turns are at the same moment."""
        free = select(served.c.owner).where(served.c.owner == owner).with_for_update(skip_locked=True).subquery()
        note = update(served).where(served.c.owner == select(free.c.owner).scalar_subquery())
        if not connection.execute(note.values(at=self.database.wall())).rowcount:
            row = self.database.insert(served).values(owner=owner, at=self.database.wall())
            connection.execute(row.on_conflict_do_nothing(index_elements=["owner"]))


def _line(keyed: bool) -> CTE:
    """Owner and priority of each line, found by leaping from one to the next (a "loose index scan"): as many steps as lines.

    keyed: of owners; else of those without one, which no comparison finds
    """
    order = (job.c.owner, job.c.priority)
    whose = job.c.owner.is_not(None) if keyed else job.c.owner.is_(None)
    first = select(*order).where(job.c.status == JobStatus.QUEUED, whose).order_by(*order).limit(1).subquery()
    line = select(first.c.owner, first.c.priority).cte("keyed_line" if keyed else "line", recursive=True)
    here, behind = job.alias(), job.alias()

    def next_line(*beyond: ColumnElement[bool]) -> ScalarSelect[str]:
        there = select(behind.c.id).where(behind.c.status == JobStatus.QUEUED, *beyond)
        return there.order_by(behind.c.owner, behind.c.priority).limit(1).correlate(line).scalar_subquery()

    further = behind.c.priority > line.c.priority
    following: ColumnElement[str] = next_line(behind.c.owner.is_(None), further)
    if keyed:  # (owner, priority) > (...) would do, but SQLite uses an index for the owner alone then
        same, other = next_line(behind.c.owner == line.c.owner, further), next_line(behind.c.owner > line.c.owner)
        following = func.coalesce(same, other)
    return line.union_all(select(here.c.owner, here.c.priority).select_from(line.join(here, here.c.id == following)))
