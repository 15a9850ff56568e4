"""The service itself."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Double, String, Table, Text

from core.store.tables.base import UtcDateTime, metadata, required

consumer = Table(
    "consumer",
    metadata,
    Column("id", String(255), primary_key=True),
    required("started_at", UtcDateTime),
    required("last_seen", Double),
    required("info", JSON),
)

# Facts about the database itself; `boot` names the timeline of all lease times (SQLite only).
meta = Table("meta", metadata, Column("key", String(64), primary_key=True), required("value", Text))
