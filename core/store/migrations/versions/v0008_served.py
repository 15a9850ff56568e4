"""The lines in which jobs wait, and when each owner last had its turn."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("job_line", "job", ["status", "owner", "priority", "created_at", "id"])
    op.create_table(
        "served",
        sa.Column("owner", sa.String(128), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
