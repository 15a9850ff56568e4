"""Keys, sessions of browsers, and what removed jobs have used of their owner's day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_when = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("limits", sa.JSON, nullable=False),
        sa.Column("created_at", _when, nullable=False),
        sa.Column("expires_at", _when),
        sa.Column("revoked_at", _when),
        sa.Column("used_at", _when),
    )
    op.create_table(
        "session",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("expires_at", _when, nullable=False),
    )
    op.create_table(
        "spent",
        sa.Column("job_id", sa.String(64), primary_key=True),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("created_at", _when, nullable=False),
        sa.Column("audio_seconds", sa.Double, nullable=False),
    )
    op.create_index("spent_of_owner", "spent", ["owner", "created_at"])
