"""Revisions of transcripts on SQL: rows that are only ever added, each naming the object that holds it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, select

from core.store.database import Database
from core.store.owners import Revision
from core.store.tables import job, revision


def newest_is(number: int) -> ColumnElement[bool]:
    """Of a job's row. 0: its transcript is as it was made"""
    return func.coalesce(job.c.revision, 0) == number


def add(connection: Connection, database: Database, job_id: str, new: Revision) -> Revision:
    """The caller's transaction has given its number to the job."""
    row = database.insert(revision).values(
        job_id=job_id, number=new.number, created_at=database.wall(), kind=new.kind, key=new.key, sha256=new.sha256
    )
    return _to_revision(connection.execute(row.returning(revision)).one())


def find(connection: Connection, job_id: str, number: int) -> Revision | None:
    this = select(revision).where(revision.c.job_id == job_id, revision.c.number == number)
    row = connection.execute(this).first()
    return None if row is None else _to_revision(row)


def forget(connection: Connection, job_id: str) -> None:
    """All of a job's. Their objects are the caller's business."""
    connection.execute(delete(revision).where(revision.c.job_id == job_id))


def _to_revision(row: Row[Any]) -> Revision:
    return Revision(number=row.number, kind=row.kind, key=row.key, sha256=row.sha256, created_at=row.created_at)
