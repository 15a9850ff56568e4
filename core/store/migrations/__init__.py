"""The database's schema, version by version (Alembic). Packaged with the code: an installed wheel migrates itself.

A new revision: change `core/store/tables`, add a file to `versions/`; a test compares the two.
"""

from __future__ import annotations

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from core.errors import ServiceError

LOCK = 7_041_990_211
"""Key of the PostgreSQL advisory lock: any number that nobody else uses."""

PATIENCE_SECONDS = 600

_alembic = threading.Lock()  # alembic keeps the running migration in a module


def upgrade(engine: Engine) -> None:
    """Bring the schema to this code's version, in one transaction, one starter at a time.

    Raises ServiceError when the database has been migrated by newer code: it is left as it is.
    """
    with _alembic, engine.execution_options(immediate=True).connect() as connection:
        if engine.dialect.name == "postgresql":
            _be_patient(connection)
        with connection.begin():
            if engine.dialect.name == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
            _upgrade(connection)


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration; no .ini file exists."""
    found = Config()
    found.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    found.set_main_option("path_separator", "os")
    found.attributes["connection"] = connection
    return found


def _upgrade(connection: Connection) -> None:
    settings = config(connection)
    scripts = ScriptDirectory.from_config(settings)
    current = MigrationContext.configure(connection).get_current_revision()
    if current == scripts.get_current_head():
        return
    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
        raise ServiceError(
            f"The database was migrated by a newer version of Parascribe (revision {current}). "
            "Run that version, or restore a backup made before the upgrade."
        )
    command.upgrade(settings, "head")


def _be_patient(connection: Connection) -> None:
    """Waiting for another starter or rewriting a table may take longer than any ordinary statement."""
    connection.detach()
    driver = connection.connection.driver_connection
    if driver is not None and hasattr(driver, "answer_seconds"):
        driver.answer_seconds = PATIENCE_SECONDS
    with connection.begin():
        for name in ("statement_timeout", "lock_timeout"):
            connection.execute(text(f"SET {name} = '{PATIENCE_SECONDS}s'"))
