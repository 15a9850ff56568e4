"""Webhooks: who is to be told of what, and what became of it. After Standard Webhooks (standardwebhooks.com), version 1."""

from __future__ import annotations

import base64
import re
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal, get_args

from standardwebhooks import Webhook as Signer

Event = Literal["job.completed", "job.failed", "job.cancelled", "batch.completed"]
EVENTS: tuple[Event, ...] = get_args(Event)

CALLBACK = "callback"
"""Stands for an owner's callbacks where a webhook's id is asked for: its secret signs them."""

SECRET = re.compile(r"whsec_[0-9A-Za-z+/=]+")
SECRET_BYTES = 32
"""Standard Webhooks: 24 to 64."""

SCHEDULE = (0.0, 30.0, 120.0, 600.0, 3600.0, 6 * 3600.0, 24 * 3600.0)
"""Seconds before each attempt, from the end of the one before."""

MOST = 20
"""Webhooks of one owner: each makes a delivery of each of its jobs."""

PAUSED_AFTER = 50
"""Attempts in a row that failed."""

OLD_SECRET_HOURS = 24
"""How long the secret before still signs too."""

KEPT_DAYS = 30
"""What became of deliveries is forgotten then."""


class WebhookStatus(StrEnum):
    """Whether anything is sent there."""

    ACTIVE = "active"
    PAUSED = "paused"  #: it failed again and again; what is to be sent waits
    DISABLED = "disabled"  #: it answered with 410 Gone; nothing more comes


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    WAITING = "waiting"  #: for its first attempt or the next
    DELIVERED = "delivered"
    FAILED = "failed"  #: for good, unless somebody asks for it again


@dataclass(frozen=True, kw_only=True)
class Undelivered:
    """What is to be sent and has not arrived: of all owners. held: to webhooks that are paused or disabled

    waiting: the others; oldest_seconds: since the oldest of those was made, 0 without any
    """

    waiting: int
    held: int
    oldest_seconds: float


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """An address that is told of an owner's events. Without one (`CALLBACK`): what signs those that jobs name."""

    id: str
    url: str | None
    events: tuple[str, ...]
    owner: str | None = None
    status: WebhookStatus = WebhookStatus.ACTIVE
    #: attempts in a row that failed
    failures: int = 0
    created_at: datetime | None = None
    #: those that sign, the newest first; none: nothing is signed
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One event on its way to one address. id: the `webhook-id` of every attempt"""

    id: str
    event: str
    #: id of the job or batch
    subject: str
    created_at: datetime
    #: where a job named it; else the webhook says
    url: str | None
    status: DeliveryStatus = DeliveryStatus.WAITING
    attempts: int = 0
    #: seconds until the next attempt
    due_in: float | None = None
    #: what came of the last one
    last_at: datetime | None = None
    last_status: int | None = None
    last_error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Due:
    """A delivery whose time has come, and the right to attempt it once. fence: of that right; secrets: see Webhook
    receiver: the same for all that goes to one webhook, or to one address that jobs name
    """

    delivery: Delivery
    fence: int
    webhook_id: str
    receiver: str
    url: str
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Of one attempt. status: of the answer, if there was one; error: in words, if there was none"""

    delivered: bool
    #: the receiver wants no more of it, ever
    gone: bool = False
    status: int | None = None
    error: str | None = None
    #: seconds until the next attempt; None: there is none
    retry_in: float | None = None


def new_secret() -> str:
    """`whsec_` and base64, as Standard Webhooks has it."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def callbacks_of(owner: str | None) -> str:
    """Id under which an owner's callbacks are kept."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"callbacks of {owner or ''}"))


def receiver_at(url: str) -> str:
    """What deliveries to an address that jobs name have in common, whosever they are."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, url))


def masked(text: str) -> str:
    """Without secrets, for logs."""
    return SECRET.sub("whsec_...", text) if "whsec_" in text else text


def signed(message_id: str, body: str, secrets: Sequence[str], *, now: datetime | None = None) -> dict[str, str]:
    """The headers of one attempt; without a secret, no signature. now: UTC"""
    moment = now or datetime.now(UTC)
    headers = {"webhook-id": message_id, "webhook-timestamp": str(int(moment.timestamp()))}
    if secrets:
        headers["webhook-signature"] = " ".join(Signer(secret).sign(message_id, moment, body) for secret in secrets)
    return headers
