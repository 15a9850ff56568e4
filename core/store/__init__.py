"""The job table: small protocols here, one SQL implementation (SQLite and PostgreSQL) beside it."""

from core.store.protocols import ChunkStore, Claims, ConsumerRow, Consumers, Hints, Idempotency, JobStore, Reservation

__all__ = ["ChunkStore", "Claims", "ConsumerRow", "Consumers", "Hints", "Idempotency", "JobStore", "Reservation"]
