"""Webhooks, and what is to be sent to them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_when = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "webhook",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("owner", sa.String(128)),
        sa.Column("url", sa.Text),
        sa.Column("events", sa.JSON, nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("old_secret", sa.Text),
        sa.Column("old_secret_until", _when),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("created_at", _when, nullable=False),
    )
    op.create_index("webhook_owner", "webhook", ["owner"])
    op.create_table(
        "delivery",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("webhook_id", sa.String(64), nullable=False),
        sa.Column("url", sa.Text),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("created_at", _when, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("due", sa.Double),
        sa.Column("last_at", _when),
        sa.Column("last_status", sa.Integer),
        sa.Column("last_error", sa.Text),
    )
    waits = sa.text("due IS NOT NULL")
    op.create_index("delivery_due", "delivery", ["due"], sqlite_where=waits, postgresql_where=waits)
    op.create_index("delivery_of_webhook", "delivery", ["webhook_id", "id"])
    op.create_index("delivery_subject", "delivery", ["subject"])
    op.create_index("delivery_created_at", "delivery", ["created_at"])
