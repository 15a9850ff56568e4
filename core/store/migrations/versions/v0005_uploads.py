"""Files that are brought from elsewhere, and uploads in parts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_when = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("job", sa.Column("origin", sa.Text))
    there = sa.text("origin IS NOT NULL")
    op.create_index("job_origin", "job", ["origin"], sqlite_where=there, postgresql_where=there)
    op.create_table(
        "upload",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("owner", sa.String(128)),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("length", sa.BigInteger, nullable=False),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("media_type", sa.Text),
        sa.Column("expires_at", _when, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("lease_until", sa.Double),
        sa.Column("job_id", sa.String(64)),
    )
    op.create_index("upload_of_owner", "upload", ["owner", "job_id"])
    op.create_index("upload_expiry", "upload", ["expires_at"])
    op.create_table(
        "upload_part",
        sa.Column("upload_id", sa.String(64), sa.ForeignKey("upload.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text, nullable=False),
    )
