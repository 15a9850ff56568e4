"""Chunks become tasks, each with a lease of its own. Finished chunks of unfinished jobs are kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "task",
        sa.Column("job_id", sa.String(64), sa.ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("stage", sa.String(32), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("plan", sa.JSON),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("output", sa.JSON),
        sa.Column("error", sa.JSON),
        sa.Column("identity", sa.String(64)),
        sa.Column("engine_seconds", sa.Double, nullable=False),
        sa.Column("audio_seconds", sa.Double, nullable=False),
        sa.Column("crashes", sa.Integer, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("owner", sa.String(255)),
        sa.Column("lease_until", sa.Double),
        sa.Column("job_fence", sa.Integer),
    )
    held = sa.text("owner IS NOT NULL")
    op.create_index("task_owner", "task", ["owner"], sqlite_where=held, postgresql_where=held)
    # A chunk in flight when its consumer was stopped for this upgrade did not crash it.
    op.execute(
        """
        INSERT INTO task (job_id, stage, number, plan, state, output, error, identity, engine_seconds, audio_seconds,
                          crashes, fence, job_fence)
        SELECT chunk.job_id, 'transcribe', chunk.number, chunk.plan, chunk.state, chunk.transcript, chunk.error,
               job.plan_hash, chunk.engine_seconds, chunk.audio_seconds, chunk.crashes, 0, chunk.started_fence
        FROM chunk JOIN job ON job.id = chunk.job_id
        """
    )
    _cover(op.get_bind())
    op.drop_table("chunk")
    op.drop_table("speed")  # engine hosts measure for themselves
    working = sa.text("consumer IS NOT NULL")
    op.create_index("job_newest_of_owner", "job", ["owner", "created_at", "id"])
    op.create_index("job_newest_of_owner_by_status", "job", ["owner", "status", "created_at", "id"])
    op.create_index("job_consumer", "job", ["consumer", "status"], sqlite_where=working, postgresql_where=working)


def _cover(connection: sa.Connection) -> None:
    """How much of the recording a planned chunk covers was not said before it was done."""
    task = sa.table(
        "task",
        sa.column("job_id"),
        sa.column("number"),
        sa.column("plan", sa.JSON),
        sa.column("state"),
        sa.column("audio_seconds", sa.Double),
    )
    for row in connection.execute(sa.select(task).where(task.c.state == "planned")).all():
        connection.execute(
            task.update()
            .where(task.c.job_id == row.job_id, task.c.number == row.number)
            .values(audio_seconds=(row.plan["end"] - row.plan["start"]) / 16_000)
        )
