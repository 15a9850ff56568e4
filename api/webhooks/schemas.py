"""The bodies of webhooks and deliveries."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from api.schemas import Body
from core.webhooks import Delivery, DeliveryStatus, Webhook, WebhookStatus


class WebhookBody(Body):
    """An address that is told of events."""

    id: str = Field(description="`callback` stands for the addresses that jobs name.")
    url: str | None = Field(examples=["https://example.org/hook"])
    events: list[str] = Field(examples=[["job.completed", "job.failed"]])
    status: WebhookStatus = Field(
        description="`paused` after 50 attempts in a row that failed: what is to be sent waits for `resume`. "
        "`disabled` by a 410: nothing more comes."
    )
    failures: int = Field(description="Attempts in a row that failed.")
    signed: bool = Field(description="Whether there is a secret. Only callbacks can be without one.")
    created_at: datetime | None

    @staticmethod
    def of(webhook: Webhook) -> WebhookBody:
        return WebhookBody(
            id=webhook.id,
            url=webhook.url,
            events=list(webhook.events),
            status=webhook.status,
            failures=webhook.failures,
            signed=bool(webhook.secrets),
            created_at=webhook.created_at,
        )


class SecretBody(Body):
    """Shown once."""

    secret: str = Field(examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDazj1XBfTIvQ="])


class NewWebhookBody(WebhookBody):
    """With its secret, which is shown once."""

    secret: str = Field(examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDazj1XBfTIvQ="])


class WebhooksBody(Body):
    """Oldest first."""

    items: list[WebhookBody]


class DeliveryBody(Body):
    """One event on its way to one address."""

    id: str = Field(description="The `webhook-id` of each attempt.")
    event: str = Field(examples=["job.completed"])
    subject: str = Field(description="Id of the job or batch.")
    status: DeliveryStatus
    created_at: datetime
    url: str | None = Field(description="The address that the job named; null where the webhook has one.")
    attempts: int
    next_attempt_in: float | None = Field(description="Seconds; null when no more are to come.")
    last_attempt_at: datetime | None
    last_status: int | None = Field(description="HTTP status of the last answer, if there was one.", examples=[503])
    last_error: str | None = Field(description="Why there was none.")

    @staticmethod
    def of(delivery: Delivery) -> DeliveryBody:
        return DeliveryBody(
            id=delivery.id,
            event=delivery.event,
            subject=delivery.subject,
            status=delivery.status,
            created_at=delivery.created_at,
            url=delivery.url,
            attempts=delivery.attempts,
            next_attempt_in=None if delivery.due_in is None else round(delivery.due_in, 1),
            last_attempt_at=delivery.last_at,
            last_status=delivery.last_status,
            last_error=delivery.last_error,
        )


class DeliveryPageBody(Body):
    """Newest first."""

    items: list[DeliveryBody]
    next: str | None = Field(description="Give it as `after` to get the next page; null on the last one.")
