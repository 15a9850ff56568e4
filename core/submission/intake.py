"""Files taken in as jobs: object first, then the row. Routes, other protocols and `--local` all come through here."""

from __future__ import annotations

import copy
import hashlib
import io
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Self, cast

from core.audio.sniff import HEAD_BYTES, Probe, sniff
from core.errors import (
    DatabaseUnavailable,
    EmptyUpload,
    InsufficientStorage,
    ModelInvalid,
    QueueFull,
    RequestError,
    ServiceError,
    TooLarge,
)
from core.jobs.job import Job, NewJob, Source, new_id
from core.jobs.params import JobParams
from core.objects.store import ObjectStore, source_key
from core.store.protocols import OwnerJobs, Reservation
from core.submission.checks import Models, check, fingerprint, values_of, warnings_of
from core.system import tracing

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much is taken in. Without any: whatever fits."""

    #: largest file, in bytes (MAX_UPLOAD_MB)
    max_bytes: int | None = None
    #: who says so
    says: str = "this service takes (MAX_UPLOAD_MB)"
    #: jobs that may wait (MAX_QUEUED_JOBS); 0: any number
    max_queued: int = 0
    #: bytes that stay free where uploads land (MIN_FREE_DISK_MB)
    min_free: float = 0


class Intake:
    """The rules of one service. The job store comes with each call: it may be one user's view.

    free_bytes: space left where uploads land; None where it cannot be known (S3)
    probe: says what a file is that `core.audio.sniff` does not know, by its beginning; may take a while
    options: the table of what may be asked
    """

    def __init__(
        self,
        *,
        objects: ObjectStore,
        models: Models,
        default_model: str,
        probe: Probe,
        limits: Limits | None = None,
        free_bytes: Callable[[], int] | None = None,
        options: type[JobParams] = JobParams,
    ) -> None:
        self.options = options
        self._objects, self._models, self._default_model = objects, models, default_model
        self._probe, self._limits, self._free_bytes = probe, limits or Limits(), free_bytes

    def within(self, upload_mb: float | None) -> Self:
        """The same for whose files may have so many MiB at most. None and 0: as they are"""
        if not upload_mb:
            return self
        most, limit = int(upload_mb * 1024 * 1024), self._limits.max_bytes
        if limit is not None and limit <= most:
            return self
        other = copy.copy(self)
        other._limits = replace(self._limits, max_bytes=most, says="this key may send")
        return other

    # --- may it come in?
    def check_room(self, waiting: Callable[[int], int], incoming: int = 0) -> None:
        """Whether a file of so many bytes can be taken. Raises QueueFull, InsufficientStorage.

        waiting: number of queued jobs, counted up to the given one
        """
        limit = self._limits.max_queued
        if limit and waiting(limit) >= limit:
            raise QueueFull(f"{limit} jobs are waiting already (MAX_QUEUED_JOBS); try again later.")
        self.check_disk(incoming)

    def check_disk(self, incoming: int = 0) -> None:
        """Raises InsufficientStorage when less than MIN_FREE_DISK_MB is left, or would be after so many more bytes."""
        if self._free_bytes is not None and self._free_bytes() - incoming < self._limits.min_free:
            raise InsufficientStorage

    def check_size(self, size: int, *, around: int = 0) -> None:
        """Raises TooLarge for a file of more bytes than are taken. around: bytes of `size` that are not the file's"""
        limit = self._limits.max_bytes
        if limit is not None and size - around > limit:
            message = f"The file is larger than the {limit:,} bytes {self._limits.says}."
            raise TooLarge(message, max_bytes=limit)

    def media_type(self, head: bytes, filename: str) -> str:
        """What a file is, by its beginning (HEAD_BYTES of `core.audio.sniff`). Raises EmptyUpload, NotMedia."""
        if not head:
            raise EmptyUpload
        return sniff(head, filename, self._probe)

    def check(self, given: Mapping[str, Any]) -> JobParams:
        """As `core.submission.checks.check`."""
        return check(self.options, given, self._models, default_model=self._default_model)

    def check_some(self, given: Mapping[str, Any]) -> None:
        """Check what is known before the file comes: whether the model can do it only if the model is among that."""
        if "model" in values_of(self.options, given):
            self.check(given)

    # --- taking it in
    def store(self, filename: str, data: BinaryIO) -> tuple[str, Source]:
        """Store a file, for a job whose id is made here: (id, the file). `data.read(n)` gives n bytes unless the end comes first.

        Raises EmptyUpload, NotMedia, TooLarge, StorageUnavailable, DiskFull, and what reading raises; then nothing is left.
        """
        job_id = new_id()
        head = data.read(HEAD_BYTES)
        media_type = self.media_type(head, filename)
        hashed = _Hashed(head, data, self.check_size)
        size = self.put(job_id, cast(BinaryIO, hashed), media_type)
        digest = hashed.digest.hexdigest()
        return job_id, Source(
            filename=filename, bytes=size, media_type=media_type, sha256=digest, key=source_key(job_id)
        )

    def put(self, job_id: str, data: BinaryIO, media_type: str) -> int:
        """Store a job's file; returns its bytes (see `ObjectStore.put`)."""
        return self._objects.put(source_key(job_id), data, media_type=media_type)

    def accept(
        self,
        jobs: OwnerJobs,
        job_id: str,
        source: Source,
        given: Mapping[str, Any],
        *,
        key: str | None = None,
        priority: int = 0,
    ) -> Job:
        """Make the job of a stored file. key: the Idempotency-Key that is reserved for it; priority: higher comes first

        Raises what `check` and `OwnerJobs.create` do. The file of a job that is refused is removed; after any other error the
        row may be there all the same, and if it is not, the sweeper removes the file.
        """
        try:
            params = self.check(given)
            warnings = warnings_of(params, given)
            origin = tracing.origin()
            new = NewJob(id=job_id, source=source, params=params, priority=priority, warnings=warnings, origin=origin)
            reservation = Reservation(key=key, fingerprint=fingerprint(source.sha256, params)) if key else None
            try:
                job = jobs.create(new, reservation=reservation)
            except DatabaseUnavailable:
                # the connection may have been lost after the commit, and a large upload is worth asking again
                job = jobs.create(new, reservation=reservation)
        except (RequestError, ModelInvalid):  # refused, so no row refers to the object
            self.discard(source.key)
            raise
        log.info("Accepted job %s: %d bytes of %s, model %s", job_id, source.bytes, source.media_type, params.model)
        return job

    def discard(self, key: str) -> None:
        """Remove the file of what was refused."""
        try:
            self._objects.delete(key)
        except ServiceError as error:
            log.warning("The object %s is left for the sweeper: %s", key, error.message)


class _Hashed(io.RawIOBase):
    """A file whose beginning was read already, hashed and measured as it is read."""

    def __init__(self, head: bytes, data: BinaryIO, check_size: Callable[[int], None]) -> None:
        self.digest = hashlib.sha256()
        self._head, self._data, self._check_size, self._size = head, data, check_size, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            data = self._head + self._data.read()
        else:
            data = self._head[:size]
            data += self._data.read(size - len(data)) if len(data) < size else b""
        self._head = self._head[len(data) :]
        self._size += len(data)
        self._check_size(self._size)
        self.digest.update(data)
        return data
