"""What only the folder store can do wrong: leftovers, full and unusable disks, durability."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.errors import DiskFull, StorageUnavailable
from core.objects.local import LocalObjects, storage_error

REPOSITORY = Path(__file__).parents[2]


def test_empty_folders_are_pruned_but_never_the_root(tmp_path: Path) -> None:
    store = LocalObjects(tmp_path / "objects")
    store.put("jobs/j1/source", io.BytesIO(b"x"))
    store.put("jobs/j2/source", io.BytesIO(b"x"))
    store.delete("jobs/j1/source")
    assert not (tmp_path / "objects/jobs/j1").exists()
    assert (tmp_path / "objects/jobs/j2").exists()
    store.delete("jobs/j2/source")
    assert not (tmp_path / "objects/jobs").exists()
    assert (tmp_path / "objects").exists()


def test_leftovers_of_a_killed_process_are_swept_by_age(tmp_path: Path) -> None:
    store = LocalObjects(tmp_path)
    code = (
        "import os, sys, pathlib\nsys.path.insert(0, sys.argv[2])\n"
        "from core.objects.local import LocalObjects\n"
        "class Dies:\n"
        "    left = 2\n"
        "    def read(self, n):\n"
        "        self.left -= 1\n"
        "        if not self.left: os.kill(os.getpid(), 9)\n"
        "        return b'x' * n\n"
        "LocalObjects(pathlib.Path(sys.argv[1])).put('a', Dies())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), str(REPOSITORY)], check=False)
    assert done.returncode == -9
    assert list(store.keys("")) == []
    (leftover,) = (tmp_path / ".tmp").iterdir()
    assert leftover.stat().st_size > 0
    assert store.abort_stale(older_than=3600) == 0
    old = time.time() - 7200
    os.utime(leftover, (old, old))
    assert store.abort_stale(older_than=3600) == 1
    assert not leftover.exists()


def test_a_root_that_cannot_be_used_is_storage_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = LocalObjects(tmp_path / "file")
    for use in (store.ping, lambda: store.put("a", io.BytesIO(b"x")), lambda: store.abort_stale(0)):
        with pytest.raises(StorageUnavailable):
            use()


def test_a_key_below_another_key_is_missing_not_an_error(tmp_path: Path) -> None:
    store = LocalObjects(tmp_path)
    store.put("a", io.BytesIO(b"x"))
    store.put("b/c", io.BytesIO(b"x"))
    for key in ("a/b", "b"):
        with pytest.raises(KeyError):
            store.open(key)
    store.delete("a/b")
    assert sorted(store.keys("")) == ["a", "b/c"]


def test_files_that_are_no_objects_are_no_keys(tmp_path: Path) -> None:
    store = LocalObjects(tmp_path)
    store.put("jobs/j/source", io.BytesIO(b"x"))
    for name in (".DS_Store", "._source", ".nfs00000000012345670000", "source~", "my notes"):
        (tmp_path / "jobs/j" / name).touch()
    assert list(store.keys("")) == list(store.keys("jobs/j/")) == ["jobs/j/source"]


def test_a_file_that_cannot_be_looked_at_is_not_missing(tmp_path: Path) -> None:
    store = LocalObjects(tmp_path)
    (tmp_path / "a").symlink_to("a")  # ELOOP: an error that root gets too
    for use in (store.local_path, store.open):
        with pytest.raises(StorageUnavailable):
            use("a")


def test_no_space_is_told_from_other_trouble() -> None:
    assert isinstance(storage_error(OSError(errno.ENOSPC, "x")), DiskFull)
    assert isinstance(storage_error(OSError(errno.EDQUOT, "x")), DiskFull)
    assert isinstance(storage_error(OSError(errno.EIO, "x")), StorageUnavailable)


def test_a_really_full_disk_gives_disk_full_and_leaves_nothing(tmp_path: Path) -> None:
    """On a 2 MB file system of its own, where this user may mount one in a namespace."""
    code = (
        "import io, pathlib, sys\nsys.path.insert(0, sys.argv[2])\n"
        "from core.errors import DiskFull\nfrom core.objects.local import LocalObjects\n"
        "root = pathlib.Path(sys.argv[1])\nstore = LocalObjects(root)\nstore.put('small', io.BytesIO(b'x'))\n"
        "try: store.put('big', io.BytesIO(bytes(5 << 20)))\n"
        "except DiskFull: pass\n"
        "else: sys.exit('stored 5 MB in 2 MB')\n"
        "assert list(store.keys('')) == ['small'], list(store.keys(''))\n"
        "assert not list((root / '.tmp').iterdir())\n"
        "assert store.put('fits', io.BytesIO(bytes(1 << 20))) == 1 << 20\n"
    )
    mount = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    if subprocess.run([*mount, "mount", "-t", "tmpfs", "-o", "size=2m", "none", str(tmp_path)], check=False).returncode:
        return  # a container without that right: the mapping above is all that can be shown
    script = 'mount -t tmpfs -o size=2m none "$1" && exec "$0" -c "$3" "$1" "$2"'
    subprocess.run([*mount, "sh", "-c", script, sys.executable, str(tmp_path), str(REPOSITORY), code], check=True)
