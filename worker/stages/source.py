"""The uploaded file, back from the object store and proven to be what was uploaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from core.errors import SourceCorrupt, SourceMissing
from core.jobs.job import Source
from core.jobs.tasks import Task
from core.objects.local import storage_error
from core.objects.store import ObjectStore
from core.system.cancel import Cancel
from core.system.crashpoints import reached
from core.system.disk import disk_full
from worker.context.stage import Lane, Output, Stage
from worker.context.work import Work

_BLOCK = 1 << 20


class SourceStage(Stage):
    """A file that already lies on this machine is decoded while it is still being read through."""

    name = "source"
    lane = Lane.IO
    stored = False
    streams = True

    def options(self, work: Work) -> Mapping[str, Any]:
        return {"sha256": work.job.source.sha256}

    def run(self, work: Work, task: Task) -> Output:
        upload = work.upload
        upload.fetched = True
        try:
            path = fetch(work.parts.objects, work.job.source, work.folder, work.cancel, upload.offer)
        except BaseException as error:
            upload.fail(error)
            raise
        work.check()
        reached("after_source")
        upload.offer(path)
        upload.verified.set()
        return Output()


def fetch(
    objects: ObjectStore,
    source: Source,
    folder: Path,
    cancel: Cancel,
    found: Callable[[Path], None] = lambda path: None,
) -> Path:
    """Path of a local file with the upload's bytes; a copy in `folder` unless the store is a folder itself.

    found: told of a file in the store's folder before its bytes have been looked at
    Raises SourceMissing, SourceCorrupt (size or SHA-256 differ), StorageUnavailable, DiskFull.
    Returns early, with whatever is there, when `cancel` is set.
    """
    try:
        path = objects.local_path(source.key)
        data = objects.open(source.key)
    except KeyError:
        raise SourceMissing from None
    digest, size = hashlib.sha256(), 0
    with data:
        if path is None:
            path = folder / "source"
            with disk_full(f"No space left in {folder} (WORK_DIR)."), path.open("wb") as copy:
                for block in _blocks(data, cancel):
                    digest.update(block)
                    size += len(block)
                    copy.write(block)
        else:
            found(path)
            for block in _blocks(data, cancel):
                digest.update(block)
                size += len(block)
    if not cancel.is_set() and (size != source.bytes or digest.hexdigest() != source.sha256):
        raise SourceCorrupt(
            f"The object store returned {size} bytes that are not the {source.bytes} that were uploaded."
        )
    return path


def _blocks(data: BinaryIO, cancel: Cancel) -> Iterator[bytes]:
    """The object piece by piece until it ends or `cancel` is set."""
    while not cancel.is_set():
        try:
            block = data.read(_BLOCK)
        except OSError as error:  # of a file on a network mount, say
            raise storage_error(error) from error
        if not block:
            return
        yield block
