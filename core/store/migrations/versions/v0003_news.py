"""PostgreSQL tells who listens of each job that is made or changed. SQLite needs nothing: its files tell."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
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
