"""The job table: small protocols here, one SQL implementation (SQLite and PostgreSQL) beside it."""

__all__ = ["database", "migrations", "owners", "protocols", "sql", "webhooks"]
