"""Webhooks: who is told of a job's end, and what became of it."""

from __future__ import annotations

import logging
import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.access.scopes import needs
from api.deps import NO_QUERY, NO_REPEATS, PREFIX, Base, PartsDep, Who
from api.http.json_body import SmallBody
from api.http.problems import responses
from api.webhooks.schemas import DeliveryBody, DeliveryPageBody, NewWebhookBody, SecretBody, WebhookBody, WebhooksBody
from core.errors import DeliveryNotFound, RequestError, WebhookNotFound
from core.jobs.job import new_id
from core.keys import JOBS
from core.store.webhooks import OwnerWebhooks
from core.webhooks import CALLBACK, EVENTS, DeliveryStatus, Event, Webhook, new_secret

log = logging.getLogger(__name__)
router = APIRouter(prefix=PREFIX, tags=["webhooks"], dependencies=[needs(JOBS)], route_class=SmallBody)


async def get_webhooks(parts: PartsDep, who: Who) -> OwnerWebhooks:
    """Those of who asks."""
    return parts.webhooks(who)


async def get_webhook_id(
    webhook_id: Annotated[str, Path(description="Id of the webhook, or `callback` for the `callback_url`s of jobs.")],
) -> str:
    """As `api.deps.get_job_id`."""
    return webhook_id if webhook_id == CALLBACK else _canonical(webhook_id, WebhookNotFound)


async def get_delivery_id(
    delivery_id: Annotated[str, Path(description="Id of the delivery: its `webhook-id`.")],
) -> str:
    """As `api.deps.get_job_id`."""
    return _canonical(delivery_id, DeliveryNotFound)


def _canonical(text: str, missing: type[RequestError]) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise missing from None


Mine = Annotated[OwnerWebhooks, Depends(get_webhooks)]
WebhookId = Annotated[str, Depends(get_webhook_id)]
DeliveryId = Annotated[str, Depends(get_delivery_id)]


class WebhookForm(BaseModel):
    """What is said of a new webhook; anything else is refused."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(max_length=2048, examples=["https://example.org/hook"])
    events: set[Event] = Field(set(EVENTS), min_length=1, description="All of them unless some are named.")


class DeliveriesQuery(BaseModel):
    """Parameters of the list; others are refused."""

    model_config = ConfigDict(extra="forbid")

    status: DeliveryStatus | None = Field(None, description="Only those that stand there.")
    limit: int = Field(50, ge=1, le=200)
    after: str | None = Field(None, pattern=r"^[0-9a-f-]{36}$", description="`next` of the page before.")


@router.post(
    "/webhooks",
    status_code=201,
    dependencies=[NO_QUERY],
    responses=responses("validation", "url_refused", "too_large", "upload_too_slow"),
)
def create_webhook(form: WebhookForm, mine: Mine, parts: PartsDep, base: Base, response: Response) -> NewWebhookBody:
    """Have an address told of events. The secret by which it knows us is shown now and never again."""
    parts.deps.check_url(form.url)
    secret = new_secret()
    events = tuple(event for event in EVENTS if event in form.events)
    made = mine.add(Webhook(id=new_id(), url=form.url, events=events, secrets=(secret,)))
    log.info("Webhook %s was added", made.id)
    response.headers["Location"] = f"{base}/webhooks/{made.id}"
    return NewWebhookBody(**WebhookBody.of(made).model_dump(), secret=secret)


@router.get("/webhooks", dependencies=[NO_QUERY], responses=responses("validation"))
def list_webhooks(mine: Mine) -> WebhooksBody:
    """All of yours, oldest first."""
    return WebhooksBody(items=[WebhookBody.of(one) for one in mine.list()])


@router.get("/webhooks/{webhook_id}", dependencies=[NO_QUERY], responses=responses("webhook_not_found", "validation"))
def get_webhook(webhook_id: WebhookId, mine: Mine) -> WebhookBody:
    """One of them."""
    return WebhookBody.of(mine.get(webhook_id))


@router.delete(
    "/webhooks/{webhook_id}",
    status_code=204,
    dependencies=[NO_QUERY],
    responses=responses("webhook_not_found", "validation"),
)
def delete_webhook(webhook_id: WebhookId, mine: Mine) -> None:
    """Send nothing there any more, not even what waits."""
    mine.remove(webhook_id)
    log.info("Webhook %s was removed", webhook_id)


@router.post(
    "/webhooks/{webhook_id}/rotate", dependencies=[NO_QUERY], responses=responses("webhook_not_found", "validation")
)
def rotate_secret(webhook_id: WebhookId, mine: Mine) -> SecretBody:
    """A new secret, shown now and never again. For a day the one before signs too."""
    secret = new_secret()
    mine.rotate(webhook_id, secret)
    log.info("Webhook %s has a new secret", webhook_id)
    return SecretBody(secret=secret)


@router.post(
    "/webhooks/{webhook_id}/resume", dependencies=[NO_QUERY], responses=responses("webhook_not_found", "validation")
)
def resume_webhook(webhook_id: WebhookId, mine: Mine) -> WebhookBody:
    """Send again to an address that was paused or disabled, what waits first."""
    return WebhookBody.of(mine.resume(webhook_id))


@router.get(
    "/webhooks/{webhook_id}/deliveries",
    dependencies=[NO_REPEATS],
    responses=responses("webhook_not_found", "validation"),
)
def list_deliveries(webhook_id: WebhookId, mine: Mine, query: Annotated[DeliveriesQuery, Query()]) -> DeliveryPageBody:
    """What was sent, and what is to be, newest first."""
    page, following = mine.deliveries(webhook_id, status=query.status, limit=query.limit, after=query.after)
    return DeliveryPageBody(items=[DeliveryBody.of(one) for one in page], next=following)


@router.post(
    "/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver",
    status_code=202,
    dependencies=[NO_QUERY],
    responses=responses("webhook_not_found", "delivery_not_found", "validation"),
)
def redeliver(webhook_id: WebhookId, delivery_id: DeliveryId, mine: Mine) -> DeliveryBody:
    """Send it once more, under the same `webhook-id`, whatever became of it."""
    return DeliveryBody.of(mine.redeliver(webhook_id, delivery_id))
