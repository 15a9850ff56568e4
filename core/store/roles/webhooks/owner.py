"""OwnerWebhooks on SQL: what a request may do with webhooks and their deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, case, delete, func, literal, select, update

from core.errors import DeliveryNotFound, WebhookNotFound, refusal
from core.store.roles.rows import OwnerRole, known
from core.store.tables import delivery, webhook
from core.webhooks import (
    CALLBACK,
    EVENTS,
    MOST,
    OLD_SECRET_HOURS,
    Delivery,
    DeliveryStatus,
    Webhook,
    WebhookStatus,
    callbacks_of,
)


class SqlOwnerWebhooks(OwnerRole):
    def add(self, webhook_: Webhook) -> Webhook:
        with self.database.write() as connection:
            mine = webhook.c.owner.is_not_distinct_from(self.owner)
            there = connection.scalar(select(func.count()).where(mine, webhook.c.url.is_not(None))) or 0
            if there >= MOST:
                raise refusal({"field": "url", "message": f"there are {there} webhooks already, and no more may be"})
            self._insert(connection, webhook_.id, webhook_.url, webhook_.events, webhook_.secrets[0])
            return self._get(connection, webhook_.id)

    def list(self) -> Sequence[Webhook]:
        query = select(webhook).where(self._mine, webhook.c.url.is_not(None)).order_by(webhook.c.id)
        with self.database.read() as connection:
            return [_to_webhook(row) for row in connection.execute(query)]

    def get(self, webhook_id: str) -> Webhook:
        with self.database.read() as connection:
            return self._get(connection, webhook_id)

    def remove(self, webhook_id: str) -> None:
        with self.database.write() as connection:
            this = self._this(webhook_id)
            if webhook_id == CALLBACK or not connection.execute(delete(webhook).where(this)).rowcount:
                raise WebhookNotFound
            connection.execute(delete(delivery).where(delivery.c.webhook_id == webhook_id))

    def rotate(self, webhook_id: str, secret: str) -> Webhook:
        with self.database.write() as connection:
            until = connection.scalar(select(self.database.wall())) + timedelta(hours=OLD_SECRET_HOURS)  # type: ignore[operator]
            change = update(webhook).where(self._this(webhook_id))
            values = {"secret": secret, "old_secret": webhook.c.secret, "old_secret_until": until}
            if not connection.execute(change.values(values)).rowcount:
                if webhook_id != CALLBACK:
                    raise WebhookNotFound
                self._insert(connection, callbacks_of(self.owner), None, EVENTS, secret)
            return self._get(connection, webhook_id)

    def resume(self, webhook_id: str) -> Webhook:
        with self.database.write() as connection:
            change = update(webhook).where(self._this(webhook_id))
            connection.execute(change.values(status=WebhookStatus.ACTIVE, failures=0))
            return self._get(connection, webhook_id)

    def deliveries(
        self, webhook_id: str, *, status: DeliveryStatus | None = None, limit: int = 50, after: str | None = None
    ) -> tuple[Sequence[Delivery], str | None]:
        query = self._deliveries(webhook_id)
        if status is not None:
            query = query.where(delivery.c.status == status)
        if after is not None:
            query = query.where(delivery.c.id < after)  # ids sort by the time they were made
        with self.database.read() as connection:
            self._get(connection, webhook_id)
            rows = connection.execute(query.order_by(delivery.c.id.desc()).limit(limit + 1)).all()
        found = [to_delivery(row) for row in rows[:limit]]
        return found, found[-1].id if len(rows) > limit else None

    def redeliver(self, webhook_id: str, delivery_id: str) -> Delivery:
        with self.database.write() as connection:
            self._get(connection, webhook_id)
            kept = self._kept_under(webhook_id)
            again = update(delivery).where(delivery.c.id == delivery_id, delivery.c.webhook_id == kept)
            fresh = {"status": DeliveryStatus.WAITING, "attempts": 0, "fence": delivery.c.fence + 1}
            if not connection.execute(again.values(**fresh, due=self.database.now())).rowcount:
                raise DeliveryNotFound
            row = connection.execute(self._deliveries(webhook_id).where(delivery.c.id == delivery_id)).one()
            return to_delivery(row)

    @property
    def _mine(self) -> ColumnElement[bool]:
        return literal(True) if self.all_jobs else webhook.c.owner.is_not_distinct_from(self.owner)

    def _this(self, webhook_id: str) -> ColumnElement[bool]:
        if webhook_id == CALLBACK:
            return webhook.c.id == callbacks_of(self.owner)
        return and_(webhook.c.id == webhook_id, webhook.c.url.is_not(None), self._mine)

    def _kept_under(self, webhook_id: str) -> str:
        return callbacks_of(self.owner) if webhook_id == CALLBACK else webhook_id

    def _get(self, connection: Connection, webhook_id: str) -> Webhook:
        row = connection.execute(select(webhook).where(self._this(webhook_id))).first()
        if row is not None:
            return _to_webhook(row)
        if webhook_id != CALLBACK:
            raise WebhookNotFound
        return Webhook(id=CALLBACK, owner=self.owner, url=None, events=EVENTS)

    def _insert(
        self, connection: Connection, webhook_id: str, url: str | None, events: Sequence[str], secret: str
    ) -> None:
        row = self.database.insert(webhook).values(
            id=webhook_id,
            owner=self.owner,
            url=url,
            events=list(events),
            secret=secret,
            status=WebhookStatus.ACTIVE,
            failures=0,
            created_at=self.database.wall(),
        )
        # two may give an owner's callbacks their first secret at once: the later one counts
        connection.execute(row.on_conflict_do_update(index_elements=["id"], set_={"secret": secret}))

    def _deliveries(self, webhook_id: str) -> Any:
        due_in = case((delivery.c.due > self.database.now(), delivery.c.due - self.database.now()), else_=0.0)
        return select(delivery, case((delivery.c.due.is_not(None), due_in)).label("due_in")).where(
            delivery.c.webhook_id == self._kept_under(webhook_id)
        )


def _to_webhook(row: Row[Any]) -> Webhook:
    return Webhook(
        id=CALLBACK if row.url is None else row.id,
        url=row.url,
        events=tuple(row.events),
        owner=row.owner,
        status=known(WebhookStatus, row.status, WebhookStatus.PAUSED),
        failures=row.failures,
        created_at=row.created_at,
        secrets=secrets_of(row),
    )


def secrets_of(row: Row[Any]) -> tuple[str, ...]:
    """Those of a webhook that sign now."""
    old = row.old_secret if row.old_secret_until and row.old_secret_until > datetime.now(UTC) else None
    return tuple(filter(None, (row.secret, old)))


def to_delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        event=row.event,
        subject=row.subject,
        created_at=row.created_at,
        url=row.url,
        status=known(DeliveryStatus, row.status, DeliveryStatus.WAITING),
        attempts=row.attempts,
        due_in=row.due_in,
        last_at=row.last_at,
        last_status=row.last_status,
        last_error=row.last_error,
    )
