"""Reservations of Idempotency-Key on SQL: an owner's part of `OwnerJobs`."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, and_, delete, or_, select, update

from core.errors import IdempotencyInFlight
from core.store.owners import Reservation
from core.store.roles.rows import OwnerRole
from core.store.tables import idempotency


class SqlIdempotency(OwnerRole):
    def reserve(self, key: str, *, lease_seconds: float) -> str | None:
        now = self.database.now()
        row = self.database.insert(idempotency).values(owner=self._key_owner, key=key, lease_until=now + lease_seconds)
        # a crash before the job was stored leaves a reservation: it runs out
        claim = row.on_conflict_do_update(
            index_elements=["owner", "key"],
            set_={"lease_until": now + lease_seconds},
            where=idempotency.c.job_id.is_(None) & (idempotency.c.lease_until < now),
        ).returning(idempotency.c.key)
        with self.database.write() as connection:
            if connection.execute(claim).first() is not None:
                return None
            job_id = connection.scalar(select(idempotency.c.job_id).where(self._named(key)))
        if job_id is None:
            raise IdempotencyInFlight
        return str(job_id)

    def renew(self, key: str, *, lease_seconds: float) -> None:
        ours = update(idempotency).where(self._named(key), idempotency.c.job_id.is_(None))
        with self.database.write() as connection:
            connection.execute(ours.values(lease_until=self.database.now() + lease_seconds))

    def fingerprint(self, key: str) -> str | None:
        with self.database.read() as connection:
            return connection.scalar(select(idempotency.c.fingerprint).where(self._named(key)))

    def free(self, key: str) -> None:
        with self.database.write() as connection:
            connection.execute(delete(idempotency).where(self._named(key), idempotency.c.job_id.is_(None)))

    def bind(self, connection: Connection, reservation: Reservation, job_id: str) -> bool:
        """Give the key to the job. False when it belongs to another one; a key whose reservation is gone is taken again."""
        values = {"fingerprint": reservation.fingerprint, "job_id": job_id}
        row = self.database.insert(idempotency).values(
            owner=self._key_owner, key=reservation.key, lease_until=self.database.now(), **values
        )
        ours = or_(idempotency.c.job_id.is_(None), idempotency.c.job_id == job_id)
        taken = row.on_conflict_do_update(index_elements=["owner", "key"], set_=values, where=ours)
        return connection.execute(taken.returning(idempotency.c.key)).first() is not None

    @property
    def _key_owner(self) -> str:
        return self.owner or ""  # part of the primary key, which takes no NULL

    def _named(self, key: str) -> ColumnElement[bool]:
        return and_(idempotency.c.owner == self._key_owner, idempotency.c.key == key)
