"""What is on its way to become a job."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Double, Index, Integer, String, Table, Text

from core.store.tables.base import UtcDateTime, belongs_to, metadata, partial_index, required

# Uploads that come in parts, and where the parts lie.
upload = Table(
    "upload",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(128)),
    required("filename", Text),
    required("length", BigInteger),
    required("options", JSON),
    required("metadata", Text),
    # bytes that are stored
    required("received", BigInteger),
    Column("media_type", Text),
    required("expires_at", UtcDateTime),
    # who adds to it
    required("fence", Integer),
    Column("lease_until", Double),
    # what it has become
    Column("job_id", String(64)),
)

Index("upload_of_owner", upload.c.owner, upload.c.job_id)
Index("upload_expiry", upload.c.expires_at)

upload_part = Table(
    "upload_part",
    metadata,
    belongs_to("upload_id", upload),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    required("key", Text),
)

# Streams while they are spoken, and until their job has taken over what is kept of them.
live_session = Table(
    "live_session",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(128)),
    required("options", JSON),
    required("params", JSON),
    required("warnings", JSON),
    # samples at 16 kHz up to which all is final, bytes that lie in pieces, the number that the next final has
    required("acked", BigInteger),
    required("stored", BigInteger),
    required("utterances", Integer),
    required("created_at", UtcDateTime),
    # who serves it, and until when it is waited for
    required("fence", Integer),
    Column("consumer", String(255)),
    required("due", Double),
    Column("ended_at", UtcDateTime),
    # what it has become
    Column("job_id", String(64)),
)

_ALIVE = live_session.c.ended_at.is_(None)
partial_index("live_session_due", live_session.c.due, where=_ALIVE)
Index("live_session_ended", live_session.c.ended_at)
Index("live_session_job", live_session.c.job_id)

live_utterance = Table(
    "live_utterance",
    metadata,
    belongs_to("session_id", live_session),
    Column("number", Integer, primary_key=True, autoincrement=False),
    required("start", BigInteger),
    required("end", BigInteger),
    required("chunk", JSON),
    required("said", JSON),
    required("final", JSON),
    Column("translation", JSON(none_as_null=True)),
)

live_piece = Table(
    "live_piece",
    metadata,
    belongs_to("session_id", live_session),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    required("size", BigInteger),
    required("key", Text),
)
