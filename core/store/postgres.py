"""The engine for PostgreSQL: a server that is slow, gone or silent is noticed within seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from sqlalchemy import Dialect, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import ConnectionPoolEntry

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 15
ANSWER_SECONDS = 20.0
"""PostgreSQL: the server ends a statement after STATEMENT_SECONDS; if even that is not heard, it is out of reach."""


def postgres_engine(url: URL, *, to_json: Callable[[Any], str], busy_seconds: float) -> Engine:
    """busy_seconds: how long a thread waits for a connection of the pool."""
    settings = {
        "jit": "off",  # compiling takes longer than any statement of ours
        "statement_timeout": STATEMENT_SECONDS * 1000,
        "lock_timeout": 10_000,
        # our transactions take milliseconds; a process frozen inside one must not keep the row from its successor
        "idle_in_transaction_session_timeout": 10_000,
    }
    connect: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": int(ANSWER_SECONDS * 1000),
        "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        "application_name": "parascribe",
    }
    engine = create_engine(
        url,
        pool_pre_ping=True,
        pool_size=5,
        max_overflow=20,
        pool_timeout=busy_seconds,
        connect_args={k: v for k, v in connect.items() if k not in url.query},
        json_serializer=to_json,
        hide_parameters=True,
    )
    event.listen(engine, "do_connect", _connect_postgres)
    return engine


class BoundedConnection(psycopg.Connection[Any]):
    """Gives up on a server that stays connected and says nothing, which no timeout on the server's side covers."""

    answer_seconds: float = ANSWER_SECONDS

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval=interval, timeout=timeout or self.answer_seconds)
        except psycopg.errors._WaitTimeout:
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer within {self.answer_seconds:.0f} s") from None


def _connect_postgres(_dialect: Dialect, _record: ConnectionPoolEntry, args: Any, options: Any) -> BoundedConnection:
    return BoundedConnection.connect(*args, **options)
