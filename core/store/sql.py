"""SqlStore: every role of the job table in one object."""

from __future__ import annotations

from core.store.database import open_database
from core.store.sql_chunks import SqlChunks
from core.store.sql_claims import SqlClaims
from core.store.sql_consumers import SqlConsumers
from core.store.sql_hints import SqlHints
from core.store.sql_idempotency import SqlIdempotency
from core.store.sql_jobs import SqlJobs
from core.system.clock import LeaseClock


class SqlStore(SqlJobs, SqlClaims, SqlChunks, SqlHints, SqlIdempotency, SqlConsumers):
    """JobStore, Claims, ChunkStore, Hints, Idempotency and Consumers on one database.

    The database must have been migrated (`Database.migrate`).
    """

    @classmethod
    def in_memory(cls, *, clock: LeaseClock | None = None) -> SqlStore:
        """The same code on a SQLite that lives in memory and belongs to this object: for tests and small tools."""
        database = open_database("sqlite://", clock=clock)
        database.migrate()
        return cls(database)

    def close(self) -> None:
        self.database.close()
