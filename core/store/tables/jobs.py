"""Jobs, what they are asked for with, and what their work leaves."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    and_,
    literal_column,
    or_,
)

from core.jobs.job import SHORT_BYTES, SHORT_SECONDS
from core.store.tables.base import UtcDateTime, belongs_to, metadata, partial_index, required

JOB_CHANNEL = "parascribe_job"
"""Where PostgreSQL notifies of each job whose version changes, by its id (made in the migrations)."""

job = Table(
    "job",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(128)),
    required("priority", Integer),
    required("status", String(16)),
    required("stage", String(16)),
    # the upload and what was asked for, frozen
    required("filename", Text),
    required("bytes", BigInteger),
    required("media_type", Text),
    required("sha256", String(64)),
    required("source_key", Text),
    required("params", JSON),
    Column("samples_key", Text),  # of the known speakers; shared by a retry, as the upload is
    # where the file is to be brought from, until it is here
    Column("origin", Text),
    Column("retry_of", String(64)),
    required("retry_all", Boolean),
    # which request made it, and its place in a trace
    Column("caller", JSON(none_as_null=True)),
    # the batch it belongs to, and the job that has taken its place there
    Column("batch_id", String(64)),
    Column("replaced_by", String(64)),
    required("row_version", Integer),
    required("created_at", UtcDateTime),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    # who works on it
    required("attempts", Integer),
    required("strikes", Integer),
    required("fence", Integer),
    Column("lease_owner", String(255)),
    Column("consumer", String(255)),
    Column("lease_until", Double),
    Column("not_before", Double),
    # from when on it may be hinted at again, and the present back-off in seconds
    required("hint_due", Double),
    required("hint_wait", Double),
    # what the run learns
    Column("duration", Double),
    Column("speech_seconds", Double),
    Column("language", String(16)),
    Column("language_confidence", Double),
    Column("plan_hash", String(64)),
    Column("chunks_total", Integer),
    required("chunks_done", Integer),
    required("audio_seconds_done", Double),
    Column("eta_seconds", Double),
    # share of the search for speakers that is done
    Column("diarized", Double),
    # how it ended
    required("partial", Boolean),
    required("gaps", JSON),
    required("warnings", JSON),
    Column("error", JSON(none_as_null=True)),
    Column("performance", JSON(none_as_null=True)),
    Column("result_key", Text),
    # number of the newest edit of its transcript
    Column("revision", Integer),
    required("expired_audio", Boolean),
    required("expired_result", Boolean),
    Column("deleted_at", UtcDateTime),
    required("version", Integer),
)

Index("job_waiting", job.c.status, job.c.priority.desc(), job.c.created_at, job.c.id)
# the lines in which jobs wait, one for each owner and priority: whose turn it is goes by the first of each
Index("job_line", job.c.status, job.c.owner, job.c.priority, job.c.created_at, job.c.id)
Index("job_due_hint", job.c.status, job.c.hint_due)
Index("job_newest", job.c.created_at, job.c.id)
Index("job_newest_by_status", job.c.status, job.c.created_at, job.c.id)
Index("job_newest_of_owner", job.c.owner, job.c.created_at, job.c.id)
Index("job_newest_of_owner_by_status", job.c.owner, job.c.status, job.c.created_at, job.c.id)
partial_index("job_consumer", job.c.consumer, job.c.status, where=job.c.consumer.is_not(None))
Index("job_source_key", job.c.source_key)
_SAMPLED = job.c.samples_key.is_not(None)
partial_index("job_samples_key", job.c.samples_key, where=_SAMPLED)
partial_index("job_origin", job.c.origin, where=job.c.origin.is_not(None))
Index("job_result_key", job.c.result_key)
STRUCK = job.c.strikes > literal_column("0")
SHORT = or_(
    job.c.duration < literal_column(f"{SHORT_SECONDS}"),
    and_(job.c.duration.is_(None), job.c.bytes.between(literal_column("1"), literal_column(f"{SHORT_BYTES}"))),
)
"""As the partial indices have them: SQLite uses one only for the very same words."""

partial_index("job_struck", job.c.status, job.c.strikes, where=STRUCK)
partial_index("job_short_line", job.c.status, job.c.owner, job.c.priority, job.c.created_at, job.c.id, where=SHORT)

_IN_BATCH, _UNENDED = job.c.batch_id.is_not(None), and_(job.c.batch_id.is_not(None), job.c.finished_at.is_(None))
partial_index("job_of_batch", job.c.batch_id, job.c.created_at, job.c.id, where=_IN_BATCH)
# whether one is left is asked whenever one ends
partial_index("job_unended_of_batch", job.c.batch_id, where=_UNENDED)

# Partial: in full, SQLite would choose them for every `deleted_at IS NULL`, and walk through all jobs.
for _name, _column, _where in (
    ("job_deleted", job.c.deleted_at, job.c.deleted_at.is_not(None)),
    ("job_audio_retention", job.c.finished_at, job.c.expired_audio.is_(False)),
    ("job_result_retention", job.c.finished_at, job.c.expired_result.is_(False)),
):
    partial_index(_name, _column, where=_where)

# Jobs that were asked for together. What it comes to is counted from its jobs' rows; `finished_at` is written once, in the
# transaction that ends the last of them (or closes it after that).
batch = Table(
    "batch",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(128)),
    required("params", JSON),
    Column("metadata", JSON(none_as_null=True)),
    Column("callback_url", Text),
    required("created_at", UtcDateTime),
    Column("closed_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("deleted_at", UtcDateTime),
)

Index("batch_newest", batch.c.created_at, batch.c.id)
Index("batch_newest_of_owner", batch.c.owner, batch.c.created_at, batch.c.id)
_GONE = batch.c.deleted_at.is_not(None)
partial_index("batch_deleted", batch.c.deleted_at, where=_GONE)

task = Table(
    "task",
    metadata,
    belongs_to("job_id", job),
    Column("stage", String(32), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("plan", JSON(none_as_null=True)),
    required("state", String(16)),
    Column("output", JSON(none_as_null=True)),
    Column("error", JSON(none_as_null=True)),
    Column("identity", String(64)),
    required("engine_seconds", Double),
    required("audio_seconds", Double),
    required("crashes", Integer),
    # who works on it
    required("fence", Integer),
    Column("owner", String(255)),
    Column("lease_until", Double),
    # the job's fence when it was last taken: what is done under the newest one shows that the job gets on
    Column("job_fence", Integer),
)

partial_index("task_owner", task.c.owner, where=task.c.owner.is_not(None))

# Hints still to be sent. AUTOINCREMENT: an id that was sent must never name a newer row.
outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    required("job_id", ForeignKey("job.id", ondelete="CASCADE"), index=True),
    required("not_before", Double),
    sqlite_autoincrement=True,
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("owner", String(128), primary_key=True),
    Column("key", String(255), primary_key=True),
    required("lease_until", Double),
    Column("fingerprint", Text),
    Column("job_id", String(64), index=True),
)

# Edits of transcripts, from 1; the original is the job's `result_key`.
revision = Table(
    "revision",
    metadata,
    belongs_to("job_id", job),
    Column("number", Integer, primary_key=True, autoincrement=False),
    required("created_at", UtcDateTime),
    required("kind", String(16)),
    required("key", Text),
    required("sha256", String(64)),
)

Index("revision_key", revision.c.key)

# What jobs are found by; the words are once more in `search_index`, which each database has in its own way (core.store.texts.index).
search = Table(
    "search",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("job_id", String(64), ForeignKey("job.id", ondelete="CASCADE"), nullable=False),
    required("text", Text),
    required("places", JSON),
    required("words", Text),
    # to be written anew
    required("due", Boolean),
)

_DUE = search.c.due.is_(True)
Index("search_job", search.c.job_id, unique=True)
partial_index("search_due", search.c.id, where=_DUE)
