"""The uploaded file, back from the object store and proven to be what was uploaded."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from core.errors import DiskFull, SourceCorrupt, SourceMissing
from core.jobs import Source
from core.objects import ObjectStore
from whisper.types import Cancel

_BLOCK = 1 << 20


def fetch(objects: ObjectStore, source: Source, folder: Path, cancel: Cancel) -> Path:
    """Path of a local file with the upload's bytes; a copy in `folder` unless the store is a folder itself.

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
            try:
                with path.open("wb") as copy:
                    while not cancel.is_set() and (block := data.read(_BLOCK)):
                        digest.update(block)
                        size += len(block)
                        copy.write(block)
            except OSError as error:
                if shutil.disk_usage(folder).free < _BLOCK:
                    raise DiskFull(f"No space left in {folder} (WORK_DIR).") from error
                raise
        else:
            while not cancel.is_set() and (block := data.read(_BLOCK)):
                digest.update(block)
                size += len(block)
    if not cancel.is_set() and (size != source.bytes or digest.hexdigest() != source.sha256):
        raise SourceCorrupt(f"The object store returned {size} bytes that are not the {source.bytes} that were uploaded.")
    return path
