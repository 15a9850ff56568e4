"""Consumers on SQL: who is at work."""

from __future__ import annotations

from sqlalchemy import delete, select

from core.jobs.consumers import ConsumerInfo
from core.store.protocols import ConsumerRow
from core.store.roles.rows import Role
from core.store.tables import consumer

FORGET_SECONDS = 24 * 3600.0
"""A consumer that has not been heard of for a day is forgotten."""


class SqlConsumers(Role):
    """Each consumer gives a sign of life, the API shows it."""

    def beat(self, name: str, info: ConsumerInfo) -> None:
        """Sign of life. info: replaced each time."""
        with self.database.write() as connection:
            now = self.database.now()
            row = self.database.insert(consumer).values(
                id=name, started_at=self.database.wall(), last_seen=now, info=info.to_dict()
            )
            seen = {"last_seen": row.excluded.last_seen, "info": row.excluded.info}
            connection.execute(row.on_conflict_do_update(index_elements=["id"], set_=seen))
            connection.execute(delete(consumer).where(consumer.c.last_seen < now - FORGET_SECONDS))

    def leave(self, name: str) -> None:
        """Clean shutdown: forget the consumer."""
        with self.database.write() as connection:
            connection.execute(delete(consumer).where(consumer.c.id == name))

    def consumers(self) -> list[ConsumerRow]:
        with self.database.read() as connection:
            silent = (self.database.now() - consumer.c.last_seen).label("silent")
            rows = connection.execute(select(consumer, silent).order_by(consumer.c.id))
            return [
                ConsumerRow(
                    name=row.id,
                    started_at=row.started_at,
                    silent_seconds=row.silent,
                    info=ConsumerInfo.from_dict(row.info),
                )
                for row in rows
            ]
