"""The tables. `core/store/migrations` makes them; a test holds the two equal.

Two kinds of time: `*_at` columns are wall times in UTC, for people and retention; `Double` columns
(`lease_until`, `not_before`, `hint_due`, ...) are seconds on the lease clock (`core.system.clock`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    and_,
    literal_column,
    or_,
)

from core.jobs.job import SHORT_BYTES, SHORT_SECONDS

ROW_VERSION = 7
"""Raised when jobs or tasks are written in a way older consumers would misread: those then leave them alone."""

SCHEMA = "0012"
"""The newest revision of `core.store.migrations`: who finds the database at it need not load Alembic (8 MB, 0.2 s)."""
metadata = MetaData()


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC datetimes in Python; SQLite, which knows no zones, stores them without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("naive datetime")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _required(name: str, type_: Any, **options: Any) -> Column[Any]:
    return Column(name, type_, nullable=False, **options)


JOB_CHANNEL = "parascribe_job"
"""Where PostgreSQL notifies of each job whose version changes, by its id (made in the migrations)."""

job = Table(
    "job",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(128)),
    _required("priority", Integer),
    _required("status", String(16)),
    _required("stage", String(16)),
    # the upload and what was asked for, frozen
    _required("filename", Text),
    _required("bytes", BigInteger),
    _required("media_type", Text),
    _required("sha256", String(64)),
    _required("source_key", Text),
    _required("params", JSON),
    Column("samples_key", Text),  # of the known speakers; shared by a retry, as the upload is
    # where the file is to be brought from, until it is here
    Column("origin", Text),
    Column("retry_of", String(64)),
    _required("retry_all", Boolean),
    # which request made it, and its place in a trace
    Column("caller", JSON(none_as_null=True)),
    # the batch it belongs to, and the job that has taken its place there
    Column("batch_id", String(64)),
    Column("replaced_by", String(64)),
    _required("row_version", Integer),
    _required("created_at", UtcDateTime),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    # who works on it
    _required("attempts", Integer),
    _required("strikes", Integer),
    _required("fence", Integer),
    Column("lease_owner", String(255)),
    Column("consumer", String(255)),
    Column("lease_until", Double),
    Column("not_before", Double),
    # from when on it may be hinted at again, and the present back-off in seconds
    _required("hint_due", Double),
    _required("hint_wait", Double),
    # what the run learns
    Column("duration", Double),
    Column("speech_seconds", Double),
    Column("language", String(16)),
    Column("language_confidence", Double),
    Column("plan_hash", String(64)),
    Column("chunks_total", Integer),
    _required("chunks_done", Integer),
    _required("audio_seconds_done", Double),
    Column("eta_seconds", Double),
    # share of the search for speakers that is done
    Column("diarized", Double),
    # how it ended
    _required("partial", Boolean),
    _required("gaps", JSON),
    _required("warnings", JSON),
    Column("error", JSON(none_as_null=True)),
    Column("performance", JSON(none_as_null=True)),
    Column("result_key", Text),
    # number of the newest edit of its transcript
    Column("revision", Integer),
    _required("expired_audio", Boolean),
    _required("expired_result", Boolean),
    Column("deleted_at", UtcDateTime),
    _required("version", Integer),
)

Index("job_waiting", job.c.status, job.c.priority.desc(), job.c.created_at, job.c.id)
# the lines in which jobs wait, one for each owner and priority: whose turn it is goes by the first of each
Index("job_line", job.c.status, job.c.owner, job.c.priority, job.c.created_at, job.c.id)
Index("job_due_hint", job.c.status, job.c.hint_due)
Index("job_newest", job.c.created_at, job.c.id)
Index("job_newest_by_status", job.c.status, job.c.created_at, job.c.id)
Index("job_newest_of_owner", job.c.owner, job.c.created_at, job.c.id)
Index("job_newest_of_owner_by_status", job.c.owner, job.c.status, job.c.created_at, job.c.id)
Index(
    "job_consumer",
    job.c.consumer,
    job.c.status,
    sqlite_where=job.c.consumer.is_not(None),
    postgresql_where=job.c.consumer.is_not(None),
)
Index("job_source_key", job.c.source_key)
_SAMPLED = job.c.samples_key.is_not(None)
Index("job_samples_key", job.c.samples_key, sqlite_where=_SAMPLED, postgresql_where=_SAMPLED)
Index("job_origin", job.c.origin, sqlite_where=job.c.origin.is_not(None), postgresql_where=job.c.origin.is_not(None))
Index("job_result_key", job.c.result_key)
STRUCK = job.c.strikes > literal_column("0")
SHORT = or_(
    job.c.duration < literal_column(f"{SHORT_SECONDS}"),
    and_(job.c.duration.is_(None), job.c.bytes.between(literal_column("1"), literal_column(f"{SHORT_BYTES}"))),
)
"""As the partial indices have them: SQLite uses one only for the very same words."""

Index("job_struck", job.c.status, job.c.strikes, sqlite_where=STRUCK, postgresql_where=STRUCK)
Index(
    "job_short_line",
    job.c.status,
    job.c.owner,
    job.c.priority,
    job.c.created_at,
    job.c.id,
    sqlite_where=SHORT,
    postgresql_where=SHORT,
)

_IN_BATCH, _UNENDED = job.c.batch_id.is_not(None), and_(job.c.batch_id.is_not(None), job.c.finished_at.is_(None))
Index("job_of_batch", job.c.batch_id, job.c.created_at, job.c.id, sqlite_where=_IN_BATCH, postgresql_where=_IN_BATCH)
# whether one is left is asked whenever one ends
Index("job_unended_of_batch", job.c.batch_id, sqlite_where=_UNENDED, postgresql_where=_UNENDED)

# Partial: in full, SQLite would choose them for every `deleted_at IS NULL`, and walk through all jobs.
for _name, _column, _where in (
    ("job_deleted", job.c.deleted_at, job.c.deleted_at.is_not(None)),
    ("job_audio_retention", job.c.finished_at, job.c.expired_audio.is_(False)),
    ("job_result_retention", job.c.finished_at, job.c.expired_result.is_(False)),
):
    Index(_name, _column, sqlite_where=_where, postgresql_where=_where)

# Jobs that were asked for together. What it comes to is counted from its jobs' rows; `finished_at` is written once, in the
# transaction that ends the last of them (or closes it after that).
batch = Table(
    "batch",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(128)),
    _required("params", JSON),
    Column("metadata", JSON(none_as_null=True)),
    Column("callback_url", Text),
    _required("created_at", UtcDateTime),
    Column("closed_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("deleted_at", UtcDateTime),
)

Index("batch_newest", batch.c.created_at, batch.c.id)
Index("batch_newest_of_owner", batch.c.owner, batch.c.created_at, batch.c.id)
_GONE = batch.c.deleted_at.is_not(None)
Index("batch_deleted", batch.c.deleted_at, sqlite_where=_GONE, postgresql_where=_GONE)

task = Table(
    "task",
    metadata,
    Column("job_id", String(64), ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
    Column("stage", String(32), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("plan", JSON(none_as_null=True)),
    _required("state", String(16)),
    Column("output", JSON(none_as_null=True)),
    Column("error", JSON(none_as_null=True)),
    Column("identity", String(64)),
    _required("engine_seconds", Double),
    _required("audio_seconds", Double),
    _required("crashes", Integer),
    # who works on it
    _required("fence", Integer),
    Column("owner", String(255)),
    Column("lease_until", Double),
    # the job's fence when it was last taken: what is done under the newest one shows that the job gets on
    Column("job_fence", Integer),
)

Index("task_owner", task.c.owner, sqlite_where=task.c.owner.is_not(None), postgresql_where=task.c.owner.is_not(None))

# Hints still to be sent. AUTOINCREMENT: an id that was sent must never name a newer row.
outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    _required("job_id", ForeignKey("job.id", ondelete="CASCADE"), index=True),
    _required("not_before", Double),
    sqlite_autoincrement=True,
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("owner", String(128), primary_key=True),
    Column("key", String(255), primary_key=True),
    _required("lease_until", Double),
    Column("fingerprint", Text),
    Column("job_id", String(64), index=True),
)

consumer = Table(
    "consumer",
    metadata,
    Column("id", String(255), primary_key=True),
    _required("started_at", UtcDateTime),
    _required("last_seen", Double),
    _required("info", JSON),
)

# Edits of transcripts, from 1; the original is the job's `result_key`.
revision = Table(
    "revision",
    metadata,
    Column("job_id", String(64), ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    _required("created_at", UtcDateTime),
    _required("kind", String(16)),
    _required("key", Text),
    _required("sha256", String(64)),
)

Index("revision_key", revision.c.key)

# What jobs are found by; the words are once more in `search_index`, which each database has in its own way (core.store.texts.index).
search = Table(
    "search",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("job_id", String(64), ForeignKey("job.id", ondelete="CASCADE"), nullable=False),
    _required("text", Text),
    _required("places", JSON),
    _required("words", Text),
    # to be written anew
    _required("due", Boolean),
)

_DUE = search.c.due.is_(True)
Index("search_job", search.c.job_id, unique=True)
Index("search_due", search.c.id, sqlite_where=_DUE, postgresql_where=_DUE)

# Who may come in: of a key its id and what is kept of its secret, of a browser's session what is kept of its cookie.
api_key = Table(
    "api_key",
    metadata,
    Column("id", String(16), primary_key=True),
    _required("name", String(128)),
    _required("owner", String(128)),
    _required("scopes", JSON),
    _required("digest", String(64)),
    _required("limits", JSON),
    _required("created_at", UtcDateTime),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Column("used_at", UtcDateTime),
)

session = Table(
    "session",
    metadata,
    Column("digest", String(64), primary_key=True),
    _required("key_id", String(16)),  # which may be in API_KEYS instead of the table
    _required("expires_at", UtcDateTime),
)

# What jobs that are removed have used of their owner's day.
spent = Table(
    "spent",
    metadata,
    Column("job_id", String(64), primary_key=True),
    _required("owner", String(128)),
    _required("created_at", UtcDateTime),
    _required("audio_seconds", Double),
)

Index("spent_of_owner", spent.c.owner, spent.c.created_at)
Index("spent_created_at", spent.c.created_at)

# When each owner last had its turn ("": who has no key).
served = Table("served", metadata, Column("owner", String(128), primary_key=True), _required("at", UtcDateTime))

# What people sound like whom an owner knows ("": who has no key).
_WHOSE = (Column("owner", String(128), primary_key=True), Column("name", String(100), primary_key=True))
_SOUND = (_required("embedding", String(64)), _required("vector", JSON), _required("created_at", UtcDateTime))
voice = Table("voice", metadata, *_WHOSE, *_SOUND)

# Who is told of an owner's events; without a url: what signs the owner's callbacks.
webhook = Table(
    "webhook",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(128)),
    Column("url", Text),
    _required("events", JSON),
    _required("secret", Text),
    Column("old_secret", Text),
    Column("old_secret_until", UtcDateTime),
    _required("status", String(16)),
    _required("failures", Integer),
    _required("created_at", UtcDateTime),
)

Index("webhook_owner", webhook.c.owner)

# One event on its way to one address. Ids sort by time.
delivery = Table(
    "delivery",
    metadata,
    Column("id", String(64), primary_key=True),
    _required("webhook_id", String(64)),
    Column("url", Text),  # that of a callback
    # what goes to the same address waits in the same line
    _required("receiver", String(64)),
    _required("event", String(32)),
    _required("subject", String(64)),
    _required("created_at", UtcDateTime),
    _required("status", String(16)),
    _required("attempts", Integer),
    # grows with each attempt: what came of an older one is not written any more
    _required("fence", Integer),
    # the next attempt, or when the present one counts as lost; NULL when it has ended
    Column("due", Double),
    Column("last_at", UtcDateTime),
    Column("last_status", Integer),
    Column("last_error", Text),
)

_UNSENT = delivery.c.due.is_not(None)
Index(
    "delivery_line", delivery.c.receiver, delivery.c.due, delivery.c.id, sqlite_where=_UNSENT, postgresql_where=_UNSENT
)
Index("delivery_of_webhook", delivery.c.webhook_id, delivery.c.id)
Index("delivery_subject", delivery.c.subject)
Index("delivery_created_at", delivery.c.created_at)
# Uploads that come in parts, and where the parts lie.
upload = Table(
    "upload",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(128)),
    _required("filename", Text),
    _required("length", BigInteger),
    _required("options", JSON),
    _required("metadata", Text),
    # bytes that are stored
    _required("received", BigInteger),
    Column("media_type", Text),
    _required("expires_at", UtcDateTime),
    # who adds to it
    _required("fence", Integer),
    Column("lease_until", Double),
    # what it has become
    Column("job_id", String(64)),
)

Index("upload_of_owner", upload.c.owner, upload.c.job_id)
Index("upload_expiry", upload.c.expires_at)

upload_part = Table(
    "upload_part",
    metadata,
    Column("upload_id", String(64), ForeignKey("upload.id", ondelete="CASCADE"), primary_key=True),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    _required("key", Text),
)

# Facts about the database itself; `boot` names the timeline of all lease times (SQLite only).
meta = Table("meta", metadata, Column("key", String(64), primary_key=True), _required("value", Text))
