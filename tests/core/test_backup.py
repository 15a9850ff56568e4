"""Backup and restore as docs/how-to/operate.md says, on SQLite while somebody writes, and on PostgreSQL."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from core.jobs.job import JobStatus
from core.objects.local import LocalObjects
from core.objects.store import result_key
from core.queue.hints import PollOnly
from core.queue.sweeper import Sweeper
from core.store.sql import SqlStore
from tests.core.store_kit import ended as done
from tests.core.store_kit import finish_task, new_job, open_store, planned, take
from tests.skipping import skip_on_a_laptop

PAGE = (Path(__file__).parents[2] / "docs/how-to/operate.md").read_text()


def filled(store: SqlStore, objects: LocalObjects) -> tuple[str, str]:
    """Ids of a completed job, and of one that is in work with one of two chunks done."""
    first, second = store.create(new_job()), store.create(new_job())
    key = result_key(first.id, 1)
    objects.put(key, io.BytesIO(b'{"text": "hello"}'))
    store.finish(take(store), result_key=key, partial=False, gaps=[], warnings=[], performance={})
    claim = take(store)
    store.plan(claim, planned(0, 1))
    finish_task(store, claim, done(0))
    return first.id, second.id


def check(store: SqlStore, objects: LocalObjects, ids: tuple[str, str]) -> None:
    first, second = (store.get(job_id) for job_id in ids)
    assert (first.status, second.status) == (JobStatus.COMPLETED, JobStatus.PROCESSING)
    assert first.result_key is not None
    with objects.open(first.result_key) as data:
        assert data.read() == b'{"text": "hello"}'
    assert [task.ended for task in store.tasks(second.id)] == [True, False]
    store.free_owner("one")  # its owner is not there any more
    assert take(store, owner="two").job.id == second.id


def test_sqlite_while_somebody_writes(tmp_path: Path) -> None:
    data, backup, restored = (tmp_path / name for name in ("data", "backup", "restored"))
    for folder in (data, backup, restored):
        folder.mkdir()
    store, objects = open_store(f"sqlite:///{data}/parascribe.db", None), LocalObjects(data / "objects")
    ids, over = filled(store, objects), threading.Event()

    def write() -> None:
        while not over.is_set():
            store.create(new_job(priority=-1))

    writer = threading.Thread(target=write)
    writer.start()
    (program,) = re.findall(r'python -c "(.*)" data/parascribe.db backup/parascribe.db', PAGE)
    subprocess.run(
        [sys.executable, "-c", program, "data/parascribe.db", "backup/parascribe.db"], cwd=tmp_path, check=True
    )
    assert "$ cp -a data/objects backup/" in PAGE
    subprocess.run(["cp", "-a", "data/objects", "backup/"], cwd=tmp_path, check=True)
    over.set()
    writer.join()
    store.close()
    assert "cp -a backup/parascribe.db backup/objects restored/" in PAGE
    subprocess.run(["cp", "-a", "backup/parascribe.db", "backup/objects", "restored/"], cwd=tmp_path, check=True)
    again = open_store(f"sqlite:///{restored}/parascribe.db", None)
    kept = LocalObjects(restored / "objects")
    Sweeper(again, kept, PollOnly(), interval=1.0, max_attempts=3).collect_orphans(older_than=0.0)
    check(again, kept, ids)
    again.close()


def test_postgres(tmp_path: Path, fresh_postgres: Callable[[], str]) -> None:
    programs = [shutil.which(name) for name in ("pg_dump", "pg_restore")]
    if not all(programs):
        skip_on_a_laptop("no pg_dump and pg_restore on PATH")
    old, new = fresh_postgres(), fresh_postgres()
    store, objects = open_store(old, None), LocalObjects(tmp_path / "objects")
    ids = filled(store, objects)
    store.close()
    plain = [url.replace("+psycopg", "") for url in (old, new)]
    assert 'pg_dump --format=custom --file=backup/parascribe.dump "$DATABASE_URL"' in PAGE
    dump = tmp_path / "parascribe.dump"
    subprocess.run([programs[0], "--format=custom", f"--file={dump}", plain[0]], check=True)
    assert 'pg_restore --dbname="$DATABASE_URL" backup/parascribe.dump' in PAGE
    subprocess.run([programs[1], f"--dbname={plain[1]}", dump], check=True)
    again = open_store(new, None)
    check(again, objects, ids)
    again.close()
