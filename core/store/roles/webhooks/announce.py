"""Events become deliveries here, in the transaction that makes the event true: both are there, or neither."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, delete, insert, select

from core.jobs.job import JobStatus, new_id
from core.store.database import Database
from core.store.tables import delivery, job, webhook
from core.webhooks import DeliveryStatus, Event, WebhookStatus, callbacks_of, receiver_at

_WEBHOOKS = select(webhook.c.id, webhook.c.events).where(
    webhook.c.owner.is_not_distinct_from(bindparam("of_owner", type_=webhook.c.owner.type)),
    webhook.c.url.is_not(None),
    webhook.c.status != WebhookStatus.DISABLED,
)
_ENDED = select(job.c.owner, job.c.params).where(job.c.id == bindparam("of_id"), job.c.deleted_at.is_(None))

OF_STATUS: dict[JobStatus, Event] = {
    JobStatus.COMPLETED: "job.completed",
    JobStatus.FAILED: "job.failed",
    JobStatus.CANCELLED: "job.cancelled",
}


def announce(
    connection: Connection,
    database: Database,
    event: Event,
    *,
    subject: str,
    owner: str | None,
    callback_url: str | None = None,
) -> None:
    """A delivery for each of the owner's webhooks that wants to know, and one for the address that the job or batch names.

    subject: id of the job or batch; what is sent of it is made from its row at each attempt
    """
    targets: list[tuple[str, str | None]] = [
        (row.id, None) for row in connection.execute(_WEBHOOKS, {"of_owner": owner}) if event in row.events
    ]
    if callback_url is not None:
        targets.append((callbacks_of(owner), callback_url))
    for webhook_id, url in targets:
        connection.execute(
            insert(delivery).values(
                id=new_id(),
                webhook_id=webhook_id,
                url=url,
                receiver=webhook_id if url is None else receiver_at(url),
                event=event,
                subject=subject,
                created_at=database.wall(),
                status=DeliveryStatus.WAITING,
                attempts=0,
                fence=0,
                due=database.now(),
            )
        )


def announce_end(connection: Connection, database: Database, job_id: str, status: JobStatus) -> None:
    """A job has ended. Of one that is deleted nobody is told."""
    row = connection.execute(_ENDED, {"of_id": job_id}).first()
    if row is not None:
        callback = row.params.get("callback_url")
        announce(connection, database, OF_STATUS[status], subject=job_id, owner=row.owner, callback_url=callback)


def withdraw(connection: Connection, subject: str) -> None:
    """The job or batch is to be deleted: nothing more is sent of it, and nothing is kept of what was."""
    connection.execute(delete(delivery).where(delivery.c.subject == subject))
