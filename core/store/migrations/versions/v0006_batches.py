"""Batches: jobs that were asked for together."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_when = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "batch",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("owner", sa.String(128)),
        sa.Column("params", sa.JSON, nullable=False),
        sa.Column("metadata", sa.JSON),
        sa.Column("callback_url", sa.Text),
        sa.Column("created_at", _when, nullable=False),
        sa.Column("closed_at", _when),
        sa.Column("finished_at", _when),
        sa.Column("deleted_at", _when),
    )
    op.create_index("batch_newest", "batch", ["created_at", "id"])
    op.create_index("batch_newest_of_owner", "batch", ["owner", "created_at", "id"])
    _partial_index("batch_deleted", "batch", ["deleted_at"], "deleted_at IS NOT NULL")
    op.add_column("job", sa.Column("batch_id", sa.String(64)))
    op.add_column("job", sa.Column("replaced_by", sa.String(64)))
    _partial_index("job_of_batch", "job", ["batch_id", "created_at", "id"], "batch_id IS NOT NULL")
    _partial_index("job_unended_of_batch", "job", ["batch_id"], "batch_id IS NOT NULL AND finished_at IS NULL")


def _partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
