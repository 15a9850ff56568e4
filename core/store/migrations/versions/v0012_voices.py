"""Voices that owners have kept, and where the samples of a job's known speakers lie."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "voice",
        sa.Column("owner", sa.String(128), primary_key=True),
        sa.Column("name", sa.String(100), primary_key=True),
        sa.Column("embedding", sa.String(64), nullable=False),
        sa.Column("vector", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.add_column("job", sa.Column("samples_key", sa.Text))
    there = sa.text("samples_key IS NOT NULL")
    op.create_index("job_samples_key", "job", ["samples_key"], sqlite_where=there, postgresql_where=there)
