"""The lines in which deliveries wait: one for each receiver. What was spent is forgotten by an index."""

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
