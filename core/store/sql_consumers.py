"""Who is at work, and how fast the engines have been."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, select

from core.store.protocols import ConsumerRow
from core.store.rows import Role
from core.store.tables import consumer, speed

FORGET_SECONDS = 24 * 3600.0
"""A consumer that has not been heard of for a day is forgotten."""


class SqlConsumers(Role):
    """Each consumer gives a sign of life, the API shows it."""

    def beat(self, name: str, info: dict[str, Any]) -> None:
        """Sign of life. info: JSON (host, worker plan, ...), replaced each time."""
        with self.database.write() as connection:
            now = self.database.now()
            row = self.database.insert(consumer).values(
                id=name, started_at=self.database.wall(), last_seen=now, info=info
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
                ConsumerRow(name=row.id, started_at=row.started_at, silent_seconds=row.silent, info=row.info)
                for row in rows
            ]


class SqlSpeed(Role):
    """Measured engine speed, by a key of the caller's (machine, library, model)."""

    def load_speed(self) -> dict[str, dict[str, Any]]:
        with self.database.read() as connection:
            return {row.key: row.data for row in connection.execute(select(speed))}

    def save_speed(self, key: str, data: dict[str, Any]) -> None:
        with self.database.write() as connection:
            row = self.database.insert(speed).values(key=key, data=data)
            connection.execute(row.on_conflict_do_update(index_elements=["key"], set_={"data": row.excluded.data}))
