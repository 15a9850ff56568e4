"""The job table: small protocols here, one SQL implementation (SQLite and PostgreSQL) beside it."""

from core.store.protocols import (
    Claims,
    ConsumerRow,
    Consumers,
    Hints,
    Idempotency,
    JobStore,
    Reservation,
    SpeedStore,
    TaskStore,
)

__all__ = [
    "Claims",
    "ConsumerRow",
    "Consumers",
    "Hints",
    "Idempotency",
    "JobStore",
    "Reservation",
    "SpeedStore",
    "TaskStore",
]
