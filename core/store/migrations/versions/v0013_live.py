"""Live streams: what of them outlives the process that serves them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "live_session",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("owner", sa.String(128)),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("params", sa.JSON, nullable=False),
        sa.Column("warnings", sa.JSON, nullable=False),
        sa.Column("acked", sa.BigInteger, nullable=False),
        sa.Column("stored", sa.BigInteger, nullable=False),
        sa.Column("utterances", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("consumer", sa.String(255)),
        sa.Column("due", sa.Double, nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("job_id", sa.String(64)),
    )
    alive = sa.text("ended_at IS NULL")
    op.create_index("live_session_due", "live_session", ["due"], sqlite_where=alive, postgresql_where=alive)
    op.create_index("live_session_ended", "live_session", ["ended_at"])
    op.create_index("live_session_job", "live_session", ["job_id"])
    op.create_table(
        "live_utterance",
        sa.Column("session_id", sa.String(64), _of_session(), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("end", sa.BigInteger, nullable=False),
        sa.Column("chunk", sa.JSON, nullable=False),
        sa.Column("said", sa.JSON, nullable=False),
        sa.Column("final", sa.JSON, nullable=False),
        sa.Column("translation", sa.JSON),
    )
    op.create_table(
        "live_piece",
        sa.Column("session_id", sa.String(64), _of_session(), primary_key=True),
        sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
    )


def _of_session() -> sa.ForeignKey:
    return sa.ForeignKey("live_session.id", ondelete="CASCADE")
