"""Who uses the service, and what is kept for them or told to them."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Double, Index, Integer, String, Table, Text

from core.store.tables.base import UtcDateTime, metadata, partial_index, required

# Who may come in: of a key its id and what is kept of its secret, of a browser's session what is kept of its cookie.
api_key = Table(
    "api_key",
    metadata,
    Column("id", String(16), primary_key=True),
    required("name", String(128)),
    required("owner", String(128)),
    required("scopes", JSON),
    required("digest", String(64)),
    required("limits", JSON),
    required("created_at", UtcDateTime),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Column("used_at", UtcDateTime),
)

session = Table(
    "session",
    metadata,
    Column("digest", String(64), primary_key=True),
    required("key_id", String(16)),  # which may be in API_KEYS instead of the table
    required("expires_at", UtcDateTime),
)

# What jobs that are removed have used of their owner's day.
spent = Table(
    "spent",
    metadata,
    Column("job_id", String(64), primary_key=True),
    required("owner", String(128)),
    required("created_at", UtcDateTime),
    required("audio_seconds", Double),
)

Index("spent_of_owner", spent.c.owner, spent.c.created_at)
Index("spent_created_at", spent.c.created_at)

# When each owner last had its turn ("": who has no key).
served = Table("served", metadata, Column("owner", String(128), primary_key=True), required("at", UtcDateTime))

# What people sound like whom an owner knows ("": who has no key).
_WHOSE = (Column("owner", String(128), primary_key=True), Column("name", String(100), primary_key=True))
_SOUND = (required("embedding", String(64)), required("vector", JSON), required("created_at", UtcDateTime))
voice = Table("voice", metadata, *_WHOSE, *_SOUND)

# Who is told of an owner's events; without a url: what signs the owner's callbacks.
webhook = Table(
    "webhook",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(128)),
    Column("url", Text),
    required("events", JSON),
    required("secret", Text),
    Column("old_secret", Text),
    Column("old_secret_until", UtcDateTime),
    required("status", String(16)),
    required("failures", Integer),
    required("created_at", UtcDateTime),
)

Index("webhook_owner", webhook.c.owner)

# One event on its way to one address. Ids sort by time.
delivery = Table(
    "delivery",
    metadata,
    Column("id", String(64), primary_key=True),
    required("webhook_id", String(64)),
    Column("url", Text),  # that of a callback
    # what goes to the same address waits in the same line
    required("receiver", String(64)),
    required("event", String(32)),
    required("subject", String(64)),
    required("created_at", UtcDateTime),
    required("status", String(16)),
    required("attempts", Integer),
    # grows with each attempt: what came of an older one is not written any more
    required("fence", Integer),
    # the next attempt, or when the present one counts as lost; NULL when it has ended
    Column("due", Double),
    Column("last_at", UtcDateTime),
    Column("last_status", Integer),
    Column("last_error", Text),
)

_UNSENT = delivery.c.due.is_not(None)
partial_index("delivery_line", delivery.c.receiver, delivery.c.due, delivery.c.id, where=_UNSENT)
Index("delivery_of_webhook", delivery.c.webhook_id, delivery.c.id)
Index("delivery_subject", delivery.c.subject)
Index("delivery_created_at", delivery.c.created_at)
