"""Objects as plain files below one folder: the store of a single host."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from core.errors import DiskFull, StorageUnavailable, TransientError
from core.objects.store import check_key, is_key
from core.system.disk import is_full

BLOCK = 1 << 20
_TEMPORARY = ".tmp"  # below the root, so that a rename stays inside one file system; no key begins with a dot
_PUBLISH_TRIES = 5


class LocalObjects:
    """An `ObjectStore` in a folder.

    A file appears under its key by an atomic rename after its bytes have reached the disk, and the
    folders that name it are synced too: what `put` has acknowledged survives a power cut.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def put(self, key: str, data: BinaryIO, *, media_type: str = "application/octet-stream") -> int:
        target = self._path(key)
        with _storage_errors():
            handle, name = tempfile.mkstemp(dir=self._temporary_folder())
        try:
            written = 0
            try:
                while block := data.read(BLOCK):  # the reader's own errors pass through as they are
                    with _storage_errors():
                        _write_all(handle, block)
                    written += len(block)
                with _storage_errors():
                    os.fsync(handle)
            finally:
                os.close(handle)
            with _storage_errors():
                self._publish(name, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
        return written

    def open(self, key: str, *, offset: int = 0) -> BinaryIO:
        path = self.local_path(key)
        with _storage_errors(missing=key):
            stream = path.open("rb")
            stream.seek(offset)
            return stream

    def local_path(self, key: str) -> Path:
        path = self._path(key)
        with _storage_errors(missing=key):
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise KeyError(key)
        return path

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _storage_errors():
            try:
                path.unlink()
            except (FileNotFoundError, NotADirectoryError):
                return
        for folder in path.parents:
            if folder == self._root:
                break
            try:
                folder.rmdir()
            except OSError:
                break  # not empty, or already gone

    def keys(self, prefix: str, *, older_than: float = 0.0) -> Iterator[str]:
        latest = time.time() - older_than
        folder = prefix.rpartition("/")[0]
        start = self._path(folder) if folder else self._root
        for place, folders, names in os.walk(start):
            folders[:] = sorted(name for name in folders if name != _TEMPORARY)
            for name in sorted(names):
                path = Path(place, name)
                key = path.relative_to(self._root).as_posix()
                with contextlib.suppress(FileNotFoundError):  # deleted while we look
                    # others leave files too: .DS_Store, .nfs0123, an editor's copies
                    if key.startswith(prefix) and is_key(key) and path.stat().st_mtime <= latest:
                        yield key

    def abort_stale(self, older_than: float) -> int:
        latest = time.time() - older_than
        dropped = 0
        with _storage_errors():
            for path in list(self._temporary_folder().iterdir()):
                with contextlib.suppress(FileNotFoundError):
                    if path.stat().st_mtime <= latest:  # grows younger with every write
                        path.unlink()
                        dropped += 1
        return dropped

    def ping(self) -> None:
        with _storage_errors(), tempfile.TemporaryFile(dir=self._temporary_folder()):
            pass

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    def _temporary_folder(self) -> Path:
        folder = self._root / _TEMPORARY
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _publish(self, name: str, target: Path) -> None:
        """Rename into place and make the folders that name the file durable."""
        for tries_left in reversed(range(_PUBLISH_TRIES)):
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(name, target)
                break
            except (FileNotFoundError, FileExistsError):  # the latter when a folder went while mkdir looked at it
                if not tries_left:  # a delete beside us prunes the empty folder again and again
                    raise
        for folder in target.parents:
            with contextlib.suppress(FileNotFoundError):  # the object has been deleted again in the meantime
                _sync_folder(folder)
            if folder == self._root:
                break


def _write_all(handle: int, block: bytes) -> None:
    left = memoryview(block)
    while left:
        left = left[os.write(handle, left) :]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def storage_error(error: OSError) -> TransientError:
    """What an operating system's error means for the service: DiskFull or StorageUnavailable."""
    return (
        DiskFull()
        if is_full(error)
        else StorageUnavailable(f"The object store cannot be used: {error.strerror or error}")
    )


@contextlib.contextmanager
def _storage_errors(missing: str | None = None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if missing is not None and isinstance(error, FileNotFoundError | NotADirectoryError):
            raise KeyError(missing) from None
        raise storage_error(error) from error
