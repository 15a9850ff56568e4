"""Jobs, chunks, outbox, idempotency keys, consumers; a terminal status can never change."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_when = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "job",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("owner", sa.String(128)),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("media_type", sa.Text, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("source_key", sa.Text, nullable=False),
        sa.Column("params", sa.JSON, nullable=False),
        sa.Column("retry_of", sa.String(64)),
        sa.Column("retry_all", sa.Boolean, nullable=False),
        sa.Column("row_version", sa.Integer, nullable=False),
        sa.Column("created_at", _when, nullable=False),
        sa.Column("started_at", _when),
        sa.Column("finished_at", _when),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("strikes", sa.Integer, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("lease_owner", sa.String(255)),
        sa.Column("consumer", sa.String(255)),
        sa.Column("lease_until", sa.Double),
        sa.Column("not_before", sa.Double),
        sa.Column("hint_due", sa.Double, nullable=False),
        sa.Column("hint_wait", sa.Double, nullable=False),
        sa.Column("duration", sa.Double),
        sa.Column("speech_seconds", sa.Double),
        sa.Column("language", sa.String(16)),
        sa.Column("language_confidence", sa.Double),
        sa.Column("plan_hash", sa.String(64)),
        sa.Column("chunks_total", sa.Integer),
        sa.Column("chunks_done", sa.Integer, nullable=False),
        sa.Column("audio_seconds_done", sa.Double, nullable=False),
        sa.Column("eta_seconds", sa.Double),
        sa.Column("partial", sa.Boolean, nullable=False),
        sa.Column("gaps", sa.JSON, nullable=False),
        sa.Column("warnings", sa.JSON, nullable=False),
        sa.Column("error", sa.JSON),
        sa.Column("performance", sa.JSON),
        sa.Column("result_key", sa.Text),
        sa.Column("expired_audio", sa.Boolean, nullable=False),
        sa.Column("expired_result", sa.Boolean, nullable=False),
        sa.Column("deleted_at", _when),
        sa.Column("version", sa.Integer, nullable=False),
    )
    op.create_index("job_waiting", "job", ["status", sa.text("priority DESC"), "created_at", "id"])
    op.create_index("job_due_hint", "job", ["status", "hint_due"])
    op.create_index("job_newest", "job", ["created_at", "id"])
    op.create_index("job_newest_by_status", "job", ["status", "created_at", "id"])
    op.create_index("job_source_key", "job", ["source_key"])
    op.create_index("job_result_key", "job", ["result_key"])
    struck = sa.text("strikes > 0")
    op.create_index("job_struck", "job", ["status", "strikes"], sqlite_where=struck, postgresql_where=struck)
    false = "0" if op.get_bind().dialect.name == "sqlite" else "false"
    for name, column, condition in (
        ("job_deleted", "deleted_at", "deleted_at IS NOT NULL"),
        ("job_audio_retention", "finished_at", f"expired_audio IS {false}"),
        ("job_result_retention", "finished_at", f"expired_result IS {false}"),
    ):
        where = sa.text(condition)
        op.create_index(name, "job", [column], sqlite_where=where, postgresql_where=where)
    op.create_table(
        "chunk",
        sa.Column("job_id", sa.String(64), sa.ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("plan", sa.JSON, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("transcript", sa.JSON),
        sa.Column("error", sa.JSON),
        sa.Column("engine_seconds", sa.Double, nullable=False),
        sa.Column("audio_seconds", sa.Double, nullable=False),
        sa.Column("crashes", sa.Integer, nullable=False),
        sa.Column("started_fence", sa.Integer),
        sa.Column("cache_key", sa.String(64)),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("job_id", sa.String(64), sa.ForeignKey("job.id", ondelete="CASCADE"), nullable=False),
        sa.Column("not_before", sa.Double, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_job_id", "outbox", ["job_id"])
    op.create_table(
        "idempotency",
        sa.Column("owner", sa.String(128), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("lease_until", sa.Double, nullable=False),
        sa.Column("fingerprint", sa.Text),
        sa.Column("job_id", sa.String(64)),
    )
    op.create_index("ix_idempotency_job_id", "idempotency", ["job_id"])
    op.create_table(
        "consumer",
        sa.Column("id", sa.String(255), primary_key=True),
        sa.Column("started_at", _when, nullable=False),
        sa.Column("last_seen", sa.Double, nullable=False),
        sa.Column("info", sa.JSON, nullable=False),
    )
    op.create_table(
        "speed",
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("data", sa.JSON, nullable=False),
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    _forbid_leaving_a_terminal_status()


def _forbid_leaving_a_terminal_status() -> None:
    """The code never tries; the trigger holds it against bugs, older versions and hands on the database."""
    left = "OLD.status IN ('completed', 'failed', 'cancelled') AND NEW.status <> OLD.status"
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER job_terminal BEFORE UPDATE OF status ON job WHEN {left} "
            "BEGIN SELECT RAISE(ABORT, 'a terminal status never changes'); END"
        )
        return
    op.execute(
        "CREATE FUNCTION job_terminal() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'a terminal status never changes' USING ERRCODE = 'check_violation'; END $$"
    )
    op.execute(
        "CREATE TRIGGER job_terminal BEFORE UPDATE OF status ON job FOR EACH ROW "
        f"WHEN ({left}) EXECUTE FUNCTION job_terminal()"
    )
