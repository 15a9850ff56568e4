"""The lines in which deliveries wait, one for each receiver, and short jobs. What was spent is forgotten by an index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("delivery_due", "delivery")
    op.add_column("delivery", sa.Column("receiver", sa.String(64)))
    op.execute("UPDATE delivery SET receiver = webhook_id")
    with op.batch_alter_table("delivery") as delivery:
        delivery.alter_column("receiver", existing_type=sa.String(64), nullable=False)
    waits = sa.text("due IS NOT NULL")
    op.create_index(
        "delivery_line", "delivery", ["receiver", "due", "id"], sqlite_where=waits, postgresql_where=waits
    )
    op.create_index("spent_created_at", "spent", ["created_at"])
    short = sa.text("duration < 600.0 OR duration IS NULL AND bytes BETWEEN 1 AND 19200000")
    line = ["status", "owner", "priority", "created_at", "id"]
    op.create_index("job_short_line", "job", line, sqlite_where=short, postgresql_where=short)
