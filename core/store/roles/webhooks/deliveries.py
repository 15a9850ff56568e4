"""Deliveries on SQL: taken for one attempt each, by whichever process asks first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta

from sqlalchemy import and_, case, delete, func, literal, or_, select, update

from core.store.roles.rows import Role
from core.store.roles.webhooks.owner import SqlOwnerWebhooks, secrets_of, to_delivery
from core.store.tables import delivery, webhook
from core.store.webhooks import OwnerWebhooks
from core.webhooks import KEPT_DAYS, PAUSED_AFTER, DeliveryStatus, Due, Outcome, Undelivered, WebhookStatus

ERROR_CHARACTERS = 500

_SENT_TO = or_(webhook.c.id.is_(None), webhook.c.status == WebhookStatus.ACTIVE, webhook.c.url.is_(None))
"""Of a delivery with its webhook: the receiver is neither paused nor disabled."""


class SqlDeliveries(Role):
    def webhooks_of(self, owner: str | None, *, all_webhooks: bool = False) -> OwnerWebhooks:
        return SqlOwnerWebhooks(self.database).bound(owner, all_jobs=all_webhooks)

    def undelivered(self) -> Undelivered:
        each = select(
            func.count().label("all"),
            func.coalesce(func.sum(case((_SENT_TO, 1), else_=0)), 0).label("waiting"),
            func.min(case((_SENT_TO, delivery.c.created_at))).label("oldest"),
            self.database.wall().label("now"),
        )
        each = each.select_from(delivery.outerjoin(webhook, webhook.c.id == delivery.c.webhook_id))
        with self.database.read() as connection:
            row = connection.execute(each.where(delivery.c.due.is_not(None))).one()
        age = (row.now - row.oldest).total_seconds() if row.oldest else 0.0
        return Undelivered(waiting=row.waiting, held=row.all - row.waiting, oldest_seconds=max(0.0, age))

    def claim_deliveries(
        self, *, limit: int, lease_seconds: float, per_webhook: int, besides: Collection[str] = ()
    ) -> Sequence[Due]:
        now = self.database.now()
        turn = func.row_number().over(partition_by=delivery.c.webhook_id, order_by=(delivery.c.due, delivery.c.id))
        ready = (
            select(delivery.c.id, delivery.c.due, turn.label("turn"))
            .outerjoin(webhook, webhook.c.id == delivery.c.webhook_id)
            .where(delivery.c.due <= now, _SENT_TO, delivery.c.webhook_id.not_in(besides))
            .subquery()
        )
        first = select(ready.c.id).where(ready.c.turn <= per_webhook).order_by(ready.c.due, ready.c.id).limit(limit)
        with self.database.read() as connection:
            ids = connection.scalars(first).all()
        if not ids:
            return []
        # another process may have taken some since: those are not due any more
        take = update(delivery).where(delivery.c.id.in_(ids), delivery.c.due <= now)
        lease = {"due": now + lease_seconds, "attempts": delivery.c.attempts + 1, "fence": delivery.c.fence + 1}
        with self.database.write() as connection:
            rows = connection.execute(
                take.values(lease).returning(delivery, literal(lease_seconds).label("due_in"))
            ).all()
            known = select(webhook).where(webhook.c.id.in_({row.webhook_id for row in rows}))
            webhooks = {row.id: row for row in connection.execute(known)}
        found = []
        for row in sorted(rows, key=lambda row: ids.index(row.id)):
            of = webhooks.get(row.webhook_id)
            url = row.url or (of.url if of else None)
            if url is not None:
                secrets = secrets_of(of) if of else ()
                found.append(
                    Due(delivery=to_delivery(row), fence=row.fence, webhook_id=row.webhook_id, url=url, secrets=secrets)
                )
        return found

    def settle(self, due: Due, outcome: Outcome) -> bool:
        of = and_(webhook.c.id == due.webhook_id, webhook.c.url.is_not(None))
        ended = DeliveryStatus.DELIVERED if outcome.delivered else DeliveryStatus.FAILED
        again = not outcome.delivered and outcome.retry_in is not None
        now = self.database.now()
        came = {
            "status": DeliveryStatus.WAITING if again else ended,
            "due": now + outcome.retry_in if again else None,
            "fence": delivery.c.fence + 1,  # the right to this attempt is used up
            "last_at": self.database.wall(),
            "last_status": outcome.status,
            "last_error": outcome.error[:ERROR_CHARACTERS] if outcome.error else None,
        }
        with self.database.write() as connection:
            # the webhook's row first, as whoever removes it does
            connection.execute(select(webhook.c.id).where(of).with_for_update()).first()
            this = and_(delivery.c.id == due.delivery.id, delivery.c.fence == due.fence)
            if not connection.execute(update(delivery).where(this).values(came)).rowcount:
                return False
            if outcome.delivered:
                connection.execute(update(webhook).where(of, webhook.c.failures > 0).values(failures=0))
                return True
            tired = and_(webhook.c.status == WebhookStatus.ACTIVE, webhook.c.failures + 1 >= PAUSED_AFTER)
            status = case((tired, WebhookStatus.PAUSED), else_=webhook.c.status)
            change = {"failures": webhook.c.failures + 1, "status": WebhookStatus.DISABLED if outcome.gone else status}
            connection.execute(update(webhook).where(of).values(change))
        return True

    def forget_deliveries(self) -> int:
        with self.database.write() as connection:
            today = connection.execute(select(self.database.wall())).scalar_one()
            old = delivery.c.created_at < today - timedelta(days=KEPT_DAYS)
            return connection.execute(delete(delivery).where(old)).rowcount
