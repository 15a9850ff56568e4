"""The schema: made from nothing, equal to the tables the code uses, safe to bring up to date again and at once."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from core.errors import ServiceError
from core.jobs.tasks import TRANSCRIBE
from core.store import migrations
from core.store.database import open_database
from core.store.sql import SqlStore
from core.store.tables import SCHEMA, metadata
from tests.core.store_kit import new_job, open_store, url

__all__ = ["url"]


def test_the_migrated_schema_is_the_one_the_code_uses(url: str) -> None:
    database = open_database(url)
    database.migrate()
    with database.engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True, "include_name": _is_ours}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
        found = inspect(connection)
        made = {name: {i["name"] for i in found.get_indexes(name)} for name in metadata.tables}
        assert made == {name: {i.name for i in table.indexes} for name, table in metadata.tables.items()}
    database.close()


def _is_ours(name: str | None, kind: str, parents: object) -> bool:
    """Of the index of words each database has its own."""
    return not (kind == "table" and str(name).startswith("search_index"))


def test_the_tables_name_the_newest_revision() -> None:
    assert ScriptDirectory.from_config(migrations.config()).get_current_head() == SCHEMA


def test_a_database_that_is_up_to_date_needs_no_alembic(url: str) -> None:
    open_store(url, None).close()
    code = (
        "import sys; from core.store.database import open_database; database = open_database(sys.argv[1]); database.migrate(); "
        "database.close(); print('alembic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, url], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == "False"


def test_migrating_again_changes_nothing(url: str) -> None:
    store = open_store(url, None)
    job = store.create(new_job())
    store.database.migrate()
    again = open_store(url, None)
    assert again.get(job.id) == job
    for opened in (store, again):
        opened.close()


def test_a_database_of_a_newer_version_is_refused_and_left_alone(url: str) -> None:
    store = open_store(url, None)
    with store.database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ServiceError, match=r"newer version.*9999"):
        store.database.migrate()
    with store.database.read() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "9999"
    store.close()


def _start(url: str, barrier: object) -> None:
    barrier.wait(30)  # type: ignore[attr-defined]
    store = open_store(url, None)
    store.create(new_job(id=f"by-{multiprocessing.current_process().pid}"))
    store.close()


def test_many_starters_at_once_on_an_empty_database(url: str) -> None:
    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(6)
    starters = [fork.Process(target=_start, args=(url, barrier)) for _ in range(6)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join(60)
    assert [starter.exitcode for starter in starters] == [0] * 6
    store = open_store(url, None)
    assert store.counts()["queued"] == 6
    store.close()


def test_the_package_carries_its_migrations(tmp_path: Path) -> None:
    """As installed: the files a wheel would hold, alone in another folder."""
    root = Path(__file__).parents[2]
    wheel = tmp_path / "core.zip"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in (root / "core").rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                archive.write(file, file.relative_to(root))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = "from core.store.sql import SqlStore; import core; print(core.__file__); SqlStore.in_memory().ping()"
    made = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); {code}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert made.returncode == 0, made.stderr
    assert str(tmp_path) in made.stdout


def test_an_unknown_kind_of_database_is_refused_without_its_password() -> None:
    with pytest.raises(ValueError, match="DATABASE_URL") as refused:
        open_database("mysql://me:secret@host/db")
    assert "secret" not in str(refused.value)
    assert SqlStore.in_memory().counts()["queued"] == 0


def test_finished_chunks_of_an_older_version_are_kept(url: str) -> None:
    """A job half done under 0.1.0, one waiting, one that was in flight when its consumer was stopped for the upgrade."""
    database = open_database(url)
    with database.engine.connect().execution_options(immediate=True) as connection, connection.begin():
        command.upgrade(migrations.config(connection), "0001")
    said = {"segments": [], "language": "en", "no_speech_prob": 0.1, "engine_seconds": 2.5}
    now = "2026-01-01 00:00:00+00:00" if url.startswith("postgres") else "2026-01-01 00:00:00.000000"
    with database.engine.connect().execution_options(immediate=True) as connection, connection.begin():
        connection.execute(
            text(
                "INSERT INTO job (id, priority, status, stage, filename, bytes, media_type, sha256, source_key, params, "
                "retry_all, row_version, created_at, attempts, strikes, fence, hint_due, hint_wait, plan_hash, chunks_total, "
                "chunks_done, audio_seconds_done, partial, gaps, warnings, expired_audio, expired_result, version) VALUES "
                "('old', 0, 'processing', 'transcribing', 'a.wav', 9, 'audio/wav', 'abc', 'jobs/old/source', "
                "'{\"model\": \"base\"}', :no, 1, :now, 1, 0, 3, 0, 0, 'hash', 3, 1, 5.0, :no, '[]', '[]', :no, :no, 7)"
            ),
            {"now": now, "no": False},
        )
        for number, state, output, fence in ((0, "done", said, 3), (1, "planned", None, 3), (2, "planned", None, None)):
            plan = {"index": number, "start": number * 80_000, "end": number * 80_000 + 80_000, "regions": []}
            connection.execute(
                text(
                    "INSERT INTO chunk (job_id, number, plan, state, transcript, engine_seconds, audio_seconds, crashes, "
                    "started_fence) VALUES ('old', :number, :plan, :state, :output, 2.5, :seconds, 1, :fence)"
                ),
                {
                    "number": number,
                    "plan": json.dumps(plan | {"overlap_before": 0, "overlap_after": 0}),
                    "state": state,
                    "output": json.dumps(output) if output else None,
                    "seconds": 5.0 if output else 0.0,
                    "fence": fence,
                },
            )
    database.migrate()
    store = SqlStore(database)
    claim = store.claim(owner="new", consumer="here", lease_seconds=60)
    assert claim is not None and claim.job.id == "old"
    done, *left = store.tasks("old")
    assert (done.stage, done.output, done.identity, done.state, done.audio_seconds) == (
        TRANSCRIBE,
        said,
        "hash",
        "done",
        5,
    )
    assert [(task.number, task.state, task.crashes, task.audio_seconds) for task in left] == [
        (1, "planned", 1, 5.0),
        (2, "planned", 1, 5.0),
    ]
    assert store.take(claim, left[0]) is not None and store.take(claim, done) is None
    with database.engine.connect() as connection:
        assert not inspect(connection).has_table("chunk")
    store.close()
