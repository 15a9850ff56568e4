"""Deliveries on SQL: taken for one attempt each, by whichever process asks first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    case,
    delete,
    func,
    literal,
    or_,
    select,
    update,
)

from core.store.roles.rows import Role
from core.store.roles.webhooks.owner import SqlOwnerWebhooks, secrets_of, to_delivery
from core.store.tables import delivery, webhook
from core.store.webhooks import OwnerWebhooks
from core.webhooks import KEPT_DAYS, PAUSED_AFTER, DeliveryStatus, Due, Outcome, Undelivered, WebhookStatus

ERROR_CHARACTERS = 500

_SENT_TO = or_(webhook.c.id.is_(None), webhook.c.status == WebhookStatus.ACTIVE, webhook.c.url.is_(None))
"""Of a delivery with its webhook: the receiver is neither paused nor disabled."""

_MOST = bindparam("most", type_=Integer)


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
        self, *, limit: int, lease_seconds: float, per_receiver: int, busy: Mapping[str, int] = MappingProxyType({})
    ) -> Sequence[Due]:
        now, ids = self.database.now(), list[str]()
        full = [receiver for receiver, count in busy.items() if count >= per_receiver]
        with self.database.read() as connection:
            first = self.statement("receivers", lambda: _first_of_each(now))
            of_one = self.statement("deliveries", lambda: _due(now))
            for receiver in connection.scalars(first, {"full": full, "most": limit}).all():
                room = min(limit - len(ids), per_receiver - busy.get(receiver, 0))
                ids += connection.scalars(of_one, {"of": receiver, "most": room})
        if not ids:
            return []
        # another process may have taken some since, or be about to: those are not due any more
        free = select(delivery.c.id).where(delivery.c.id.in_(ids), delivery.c.due <= now)
        take = update(delivery).where(delivery.c.id.in_(free.with_for_update(skip_locked=True).scalar_subquery()))
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
                found.append(
                    Due(
                        delivery=to_delivery(row),
                        fence=row.fence,
                        webhook_id=row.webhook_id,
                        receiver=row.receiver,
                        url=url,
                        secrets=secrets_of(of) if of else (),
                    )
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


def _first_of_each(now: ColumnElement[float]) -> Select[Any]:
    """Receivers that something is due for, who waits longest first: as many steps as there are, however much waits for each."""
    behind, head = delivery.alias("behind"), delivery.alias("head")
    line = _next(delivery).cte("line", recursive=True)
    following = _next(behind).where(behind.c.receiver > line.c.receiver).correlate(line).scalar_subquery()
    line = line.union_all(select(following).where(line.c.receiver.is_not(None)))
    first = _line(line.c.receiver).limit(1).correlate(line).scalar_subquery()
    active = or_(head.c.url.is_not(None), webhook.c.status == WebhookStatus.ACTIVE)
    return (
        select(head.c.receiver)
        .select_from(line.join(head, head.c.id == first).outerjoin(webhook, webhook.c.id == head.c.webhook_id))
        .where(head.c.due <= now, active, head.c.receiver.not_in(bindparam("full", expanding=True)))
        .order_by(head.c.due, head.c.id)
        .limit(_MOST)
    )


def _next(waiting: FromClause) -> Select[Any]:
    return select(func.min(waiting.c.receiver).label("receiver")).where(waiting.c.due.is_not(None))


def _line(receiver: ColumnElement[str]) -> Select[Any]:
    """Whether it is time is asked of the first ones alone: PostgreSQL, whose clock runs on meanwhile, would ask all."""
    waits = and_(delivery.c.receiver == receiver, delivery.c.due.is_not(None))
    return select(delivery.c.id).where(waits).order_by(delivery.c.due, delivery.c.id)


def _due(now: ColumnElement[float]) -> Select[Any]:
    first = _line(bindparam("of", type_=String)).limit(_MOST)
    return (
        select(delivery.c.id)
        .where(delivery.c.id.in_(first), delivery.c.due <= now)
        .order_by(delivery.c.due, delivery.c.id)
    )
