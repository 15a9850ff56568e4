"""The job table: small protocols here, one SQL implementation (SQLite and PostgreSQL) beside it."""

from core.store.protocols import ChunkStore, Claims, Hints, Idempotency, JobStore

__all__ = ["ChunkStore", "Claims", "Hints", "Idempotency", "JobStore"]
