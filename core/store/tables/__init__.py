"""The tables, by subject; `core/store/migrations` makes them, and a test holds the two equal.

Two kinds of time: `*_at` columns are wall times in UTC, for people and retention; `Double` columns
(`lease_until`, `not_before`, `hint_due`, ...) are seconds on the lease clock (`core.system.clock`).
"""

from core.store.tables.base import ROW_VERSION, SCHEMA, UtcDateTime, metadata
from core.store.tables.incoming import live_piece, live_session, live_utterance, upload, upload_part
from core.store.tables.jobs import JOB_CHANNEL, SHORT, STRUCK, batch, idempotency, job, outbox, revision, search, task
from core.store.tables.owners import api_key, delivery, served, session, spent, voice, webhook
from core.store.tables.service import consumer, meta

__all__ = [
    "JOB_CHANNEL",
    "ROW_VERSION",
    "SCHEMA",
    "SHORT",
    "STRUCK",
    "UtcDateTime",
    "api_key",
    "batch",
    "consumer",
    "delivery",
    "idempotency",
    "job",
    "live_piece",
    "live_session",
    "live_utterance",
    "meta",
    "metadata",
    "outbox",
    "revision",
    "search",
    "served",
    "session",
    "spent",
    "task",
    "upload",
    "upload_part",
    "voice",
    "webhook",
]
