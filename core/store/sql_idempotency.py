"""Idempotency on SQL: reservations of Idempotency-Key."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, or_, select, update

from core.errors import IdempotencyInFlight
from core.store.database import Database
from core.store.protocols import Reservation
from core.store.rows import Role
from core.store.tables import idempotency, job


class SqlIdempotency(Role):
    def reserve(self, key: str, *, owner: str = "", lease_seconds: float) -> str | None:
        now = self.database.now()
        row = self.database.insert(idempotency).values(owner=owner, key=key, lease_until=now + lease_seconds)
        # a crash before the job was stored leaves a reservation, perhaps bound already: both run out
        lost = or_(idempotency.c.job_id.is_(None), ~exists().where(job.c.id == idempotency.c.job_id))
        claim = row.on_conflict_do_update(
            index_elements=["owner", "key"],
            set_={"lease_until": now + lease_seconds, "fingerprint": None, "job_id": None},
            where=lost & (idempotency.c.lease_until < now),
        ).returning(idempotency.c.key)
        with self.database.write() as connection:
            if connection.execute(claim).first() is not None:
                return None
            job_id = connection.scalar(select(idempotency.c.job_id).where(_named(owner, key)))
        if job_id is None:
            raise IdempotencyInFlight
        return str(job_id)

    def renew(self, key: str, *, owner: str = "", lease_seconds: float) -> None:
        ours = update(idempotency).where(_named(owner, key), idempotency.c.job_id.is_(None))
        with self.database.write() as connection:
            connection.execute(ours.values(lease_until=self.database.now() + lease_seconds))

    def fingerprint(self, key: str, *, owner: str = "") -> str | None:
        with self.database.read() as connection:
            return connection.scalar(select(idempotency.c.fingerprint).where(_named(owner, key)))

    def bind(self, key: str, *, owner: str = "", fingerprint: str, job_id: str) -> None:
        """Give the key to the job. Raises IdempotencyInFlight when another job has it."""
        with self.database.write() as connection:
            if not bind(self.database, connection, Reservation(key=key, owner=owner, fingerprint=fingerprint), job_id):
                raise IdempotencyInFlight

    def free(self, key: str, *, owner: str = "") -> None:
        """Give up a reservation that led to no job; one that did stays."""
        with self.database.write() as connection:
            connection.execute(delete(idempotency).where(_named(owner, key), idempotency.c.job_id.is_(None)))


def bind(database: Database, connection: Connection, reservation: Reservation, job_id: str) -> bool:
    """False when the key belongs to another job. A key whose reservation is gone is taken again."""
    values = {"fingerprint": reservation.fingerprint, "job_id": job_id}
    row = database.insert(idempotency).values(
        owner=reservation.owner, key=reservation.key, lease_until=database.now(), **values
    )
    mine = or_(idempotency.c.job_id.is_(None), idempotency.c.job_id == job_id)
    taken = row.on_conflict_do_update(index_elements=["owner", "key"], set_=values, where=mine)
    return connection.execute(taken.returning(idempotency.c.key)).first() is not None


def _named(owner: str, key: str) -> ColumnElement[bool]:
    return and_(idempotency.c.owner == owner, idempotency.c.key == key)
