"""What all tables share: one set of them, and how times and columns are written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    MetaData,
    String,
    Table,
    TypeDecorator,
)

ROW_VERSION = 7
"""Raised when jobs or tasks are written in a way older consumers would misread: those then leave them alone."""

SCHEMA = "0013"
"""The newest revision of `core.store.migrations`: who finds the database at it need not load Alembic (8 MB, 0.2 s)."""
metadata = MetaData()


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC datetimes in Python; SQLite, which knows no zones, stores them without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("naive datetime")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def required(name: str, type_: Any, **options: Any) -> Column[Any]:
    """A column that is never NULL."""
    return Column(name, type_, nullable=False, **options)


def belongs_to(name: str, table: Table) -> Column[Any]:
    """The first column of a key: which row of that table this one goes with."""
    return Column(name, String(64), ForeignKey(table.c.id, ondelete="CASCADE"), primary_key=True)


def partial_index(name: str, *columns: ColumnElement[Any], where: ColumnElement[bool]) -> Index:
    """Of the rows for which that holds."""
    return Index(name, *columns, sqlite_where=where, postgresql_where=where)
