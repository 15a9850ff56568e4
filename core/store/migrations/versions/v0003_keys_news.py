"""Keys, sessions of browsers, what removed jobs have used of their owner's day, and news of jobs."""

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
    if op.get_bind().dialect.name == "postgresql":
        _tell_of_changes()


def _tell_of_changes() -> None:
    """PostgreSQL tells who listens of each job that is made or changed. SQLite needs nothing: its files tell."""
    op.execute(
        """
        CREATE FUNCTION parascribe_job_changed() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_notify('parascribe_job', NEW.id);
            RETURN NULL;
        END $$
        """
    )
    # a heartbeat does not touch the version, so it is no news
    op.execute(
        """
        CREATE TRIGGER job_changed AFTER INSERT OR UPDATE OF version ON job
        FOR EACH ROW EXECUTE FUNCTION parascribe_job_changed()
        """
    )
