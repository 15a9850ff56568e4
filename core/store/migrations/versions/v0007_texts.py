"""Revisions of transcripts, and the search index. What there is already is written into it by the sweeper."""

from __future__ import annotations

from datetime import UTC

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job", sa.Column("revision", sa.Integer))
    op.create_table(
        "revision",
        sa.Column("job_id", sa.String(64), sa.ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
    )
    op.create_index("revision_key", "revision", ["key"])
    op.create_table(
        "search",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("job_id", sa.String(64), sa.ForeignKey("job.id", ondelete="CASCADE"), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("places", sa.JSON, nullable=False),
        sa.Column("words", sa.Text, nullable=False),
        sa.Column("due", sa.Boolean, nullable=False),
    )
    op.create_index("search_job", "search", ["job_id"], unique=True)
    due = sa.text("due IS true") if op.get_bind().dialect.name == "postgresql" else sa.text("due IS 1")
    op.create_index("search_due", "search", ["id"], sqlite_where=due, postgresql_where=due)
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE TABLE search_index (rowid BIGINT PRIMARY KEY REFERENCES search (id) ON DELETE CASCADE, "
            "terms TSVECTOR NOT NULL)"
        )
        op.execute("CREATE INDEX search_terms ON search_index USING gin (terms)")
    else:
        # words come with blanks between them, and `_` behind an owner's mark; so long are first letters, with and without it
        op.execute(
            "CREATE VIRTUAL TABLE search_index USING fts5(terms, detail=none, prefix='1 2 10 11', "
            """tokenize="ascii tokenchars '_'")"""
        )
    _add_all(op.get_bind())


def _add_all(connection: sa.Connection) -> None:
    """Numbered by the time at which they were made, in ms."""
    job = sa.table("job", sa.column("id"), sa.column("created_at", sa.DateTime(timezone=True)), sa.column("deleted_at"))
    search = sa.table("search", *(sa.column(name) for name in ("id", "job_id", "text", "words", "due")), sa.column("places", sa.JSON))
    there = sa.select(job.c.id, job.c.created_at).where(job.c.deleted_at.is_(None))
    number, rows = 0, []
    for job_id, created_at in connection.execute(there.order_by(job.c.created_at, job.c.id)):
        moment = created_at if created_at.tzinfo else created_at.replace(tzinfo=UTC)
        number = max(number + 1, int(moment.timestamp() * 1000))
        rows.append({"id": number, "job_id": job_id, "text": "", "places": [], "words": "", "due": True})
    for first in range(0, len(rows), 1000):
        connection.execute(search.insert(), rows[first : first + 1000])
