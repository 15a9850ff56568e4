"""A full disk: what makes room goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import DiskFull
from core.store.reserve import SIZE
from tests.core.store_kit import new_job, open_store

REPOSITORY = Path(__file__).parents[2]

CODE = """
import io, os, pathlib, sys
sys.path.insert(0, sys.argv[2])
from core.errors import DiskFull
from core.queue.hints import MemoryHints
from core.objects.local import LocalObjects
from core.store.reserve import SIZE
from core.queue.sweeper import Sweeper
from tests.core.store_kit import new_job, open_store
folder = pathlib.Path(sys.argv[1])
store, objects = open_store(f"sqlite:///{folder}/jobs.db", None), LocalObjects(folder / "objects")
sweeper = Sweeper(store, objects, MemoryHints(), interval=0.01, max_attempts=3)
jobs = [store.create(new_job()) for _ in range(40)]
for job in jobs:
    objects.put(job.source.key, io.BytesIO(b"x" * 5000))
sweeper.sweep_once()

def fill():
    with (folder / "fill").open("ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                pass

fill()
assert not os.statvfs(folder).f_bavail
try:
    while True:
        store.create(new_job())
except DiskFull:
    pass
for job in jobs[:30]:
    store.request_delete(job.id)
for job in jobs[30:]:
    store.request_cancel(job.id)
sweeper.sweep_once()
assert not store.removable(limit=1)
assert set(objects.keys("jobs/")) == {job.source.key for job in jobs[30:]}
(folder / "fill").unlink()
sweeper.sweep_once()
assert (folder / "jobs.db-reserve").stat().st_blocks * 512 >= SIZE, "kept again"
"""


def test_a_really_full_disk_lets_jobs_be_deleted(tmp_path: Path) -> None:
    """On a file system of its own, where this user may mount one in a namespace."""
    mount = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    if subprocess.run(
        [*mount, "mount", "-t", "tmpfs", "-o", "size=16m", "none", str(tmp_path)], check=False
    ).returncode:
        return  # a container without that right: the test below is all that can be shown
    script = 'mount -t tmpfs -o size=16m none "$1" && exec "$0" -c "$3" "$1" "$2"'
    subprocess.run([*mount, "sh", "-c", script, sys.executable, str(tmp_path), str(REPOSITORY), CODE], check=True)


def test_what_is_kept_is_given_once_and_made_again(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/jobs.db", None)
    kept = tmp_path / "jobs.db-reserve"
    calls: list[bool] = []

    def write() -> str:
        calls.append(kept.exists())
        if len(calls) < 3:
            raise DiskFull
        return "done"

    with pytest.raises(DiskFull):
        store.database.making_room(write)  # nothing has been kept yet
    store.sweep(max_attempts=3)
    assert kept.stat().st_blocks * 512 >= SIZE
    assert store.database.making_room(write) == "done"
    assert calls == [False, True, False]
    store.sweep(max_attempts=3)
    assert kept.exists()
    store.request_delete(store.create(new_job()).id)
    assert kept.exists(), "not given without need"
    store.close()
