"""SqlStore: every role of the job table in one object."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from typing import cast

from core.store.database import Database, open_database
from core.store.owners import OwnerBatches
from core.store.roles.all_jobs import SqlAllJobs
from core.store.roles.jobs import SqlJobs
from core.store.roles.keys import SqlKeys
from core.store.roles.live import SqlLive
from core.store.roles.outbox import SqlOutbox
from core.store.roles.owners.batches import SqlBatches
from core.store.roles.retention import SqlRetention
from core.store.roles.running.claims import SqlClaims
from core.store.roles.running.consumers import SqlConsumers
from core.store.roles.running.tasks import SqlTasks
from core.store.roles.upkeep import SqlUpkeep
from core.store.roles.uploads import SqlUploads
from core.store.roles.webhooks.deliveries import SqlDeliveries
from core.system.clock import LeaseClock


@cache
def blank() -> bytes:
    """A migrated database without a row, as the SQLite file that it is: made once, since migrating takes a tenth of a second."""
    database = open_database("sqlite://")
    with closing(database):
        database.migrate()
        with _raw(database) as connection:
            return connection.serialize()


@contextmanager
def _raw(database: Database) -> Iterator[sqlite3.Connection]:
    with database.engine.connect() as connection:
        yield cast("sqlite3.Connection", connection.connection.driver_connection)


class SqlStore(
    SqlJobs,
    SqlAllJobs,
    SqlClaims,
    SqlTasks,
    SqlOutbox,
    SqlRetention,
    SqlUpkeep,
    SqlConsumers,
    SqlKeys,
    SqlDeliveries,
    SqlUploads,
    SqlLive,
):
    """Every protocol of `core.store.protocols` and `core.store.webhooks`, and `LiveSessions`, on one database; as `OwnerJobs`, it sees all jobs.

    The database must have been migrated (`Database.migrate`).
    """

    def batches_of(self, owner: str | None, *, all_jobs: bool = False) -> OwnerBatches:
        view = SqlBatches(self.database, row_version=self.row_version, statements=self._statements)
        return view.bound(owner, all_jobs=all_jobs)

    @classmethod
    def in_memory(cls, *, clock: LeaseClock | None = None) -> SqlStore:
        """The same code on a SQLite that lives in memory and belongs to this object: for tests and small tools."""
        database = open_database("sqlite://", clock=clock)
        with _raw(database) as connection:
            connection.deserialize(blank())
        return cls(database)

    def close(self) -> None:
        self.database.close()
