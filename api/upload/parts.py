"""One request that adds to an upload in parts: its bytes become objects, each of them stored before it is counted.

What has come when the connection breaks counts too; what a killed process had not stored yet comes again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from api.upload.filepart import Storing
from api.upload.receiver import Receiver, declared_length
from api.upload.renewal import LEASE_SECONDS, renewing
from core.audio.sniff import HEAD_BYTES
from core.errors import NotMedia, RequestError, ServiceError, StorageUnavailable, UploadTooSlow, refusal
from core.jobs.job import new_id
from core.jobs.uploads import PartialUpload, UploadLease
from core.objects.store import ObjectStore, part_key, source_key, upload_folder
from core.store.owners import OwnerBatches, OwnerUploads
from core.submission.intake import Intake
from core.submission.joining import asked_of

log = logging.getLogger(__name__)

PART_BYTES = 16 << 20
"""A part is stored for good when it has so many: what is lost by a process that dies, and 256 objects for 4 GB."""


@dataclass(frozen=True, kw_only=True)
class Adding:
    """What it takes to add to somebody's uploads."""

    uploads: OwnerUploads
    batches: OwnerBatches
    objects: ObjectStore
    intake: Intake
    receiver: Receiver

    async def add(self, request: Request, upload_id: str, *, offset: int) -> PartialUpload:
        """The request's body, from that byte on; the upload as it stands then. The last byte makes it a job.

        Raises UploadNotFound, Expired, UploadLocked, OffsetConflict, ValidationFailed for more bytes than were announced, NotMedia
        (then the upload is gone), UploadTooSlow, ClientDisconnect, QueueFull, StorageUnavailable, DiskFull, and what `Intake.check`
        and, of its batch, `asked_of` do at the end: then it stays without its last part.
        """
        async with self.receiver.slot(request.scope["identity"].owner):
            take = partial(self.uploads.take_upload, upload_id, offset=offset, lease_seconds=LEASE_SECONDS)
            lease = await run_in_threadpool(take)
            renew = partial(self.uploads.renew_upload, lease, lease_seconds=LEASE_SECONDS)
            try:
                async with renewing(renew, "The lease of an upload", lease_seconds=LEASE_SECONDS):
                    _check_left(lease.upload, declared_length(request) or 0)
                    return await self._receive(request, lease)
            finally:
                await self._quietly(partial(self.uploads.leave_upload, lease))

    def drop(self, upload_id: str) -> None:
        """Forget an upload and its bytes. Raises UploadNotFound, AlreadyTerminal, StorageUnavailable."""
        self.uploads.drop_upload(upload_id)
        for key in list(self.objects.keys(upload_folder(upload_id))):
            self.objects.delete(key)

    async def _receive(self, request: Request, lease: UploadLease) -> PartialUpload:
        part: _Part | None = None
        try:
            try:
                async for piece in self.receiver.pieces(request):
                    _check_left(lease.upload, (part.size if part else 0) + len(piece))
                    part = part or _Part(lease, self.objects, self.receiver)
                    await part.send(piece)
                    # the last one is stored when nothing can come behind it any more
                    if part.size >= PART_BYTES and lease.upload.offset + part.size < lease.upload.length:
                        full, part = part, None
                        lease = await self._commit(full, lease)
            except (ClientDisconnect, UploadTooSlow):
                if part is not None:
                    came, part = part, None
                    await self._commit(came, lease)
                raise
            if part is not None:
                last, part = part, None
                lease = await self._commit(last, lease)
            return lease.upload
        finally:
            if part is not None:
                await part.abort()

    async def _commit(self, part: _Part, lease: UploadLease) -> UploadLease:
        await part.finish()
        try:
            return await run_in_threadpool(self._append, part.key, part.size, lease)
        except NotMedia:
            await self._quietly(partial(self.drop, lease.upload.id))
            raise
        except RequestError:  # so no row refers to it
            await self._quietly(partial(self.objects.delete, part.key))
            raise

    def _append(self, key: str, size: int, lease: UploadLease) -> UploadLease:
        upload, intake = lease.upload, self.intake
        offset = upload.offset + size
        media_type, job = upload.media_type, None
        if media_type is None and (offset >= HEAD_BYTES or offset == upload.length):
            media_type = intake.media_type(self._head([*self.uploads.parts(upload.id), key]), upload.filename)
        if offset == upload.length:
            job_id = new_id()
            source = upload.source(source_key(job_id), media_type=media_type or "")
            asked = asked_of(self.batches.get, upload.options)
            job = intake.new_job(job_id, source, asked.options, batch=asked.batch)
        done = self.uploads.append(lease, key, size, media_type=media_type, job=job)
        if job is not None:
            log.info("Upload %s of %d bytes is complete: job %s", upload.id, upload.length, job.id)
        return done

    def _head(self, keys: list[str]) -> bytes:
        head = bytearray()
        for key in keys:
            with self.objects.open(key) as data:
                head += data.read(HEAD_BYTES - len(head))
            if len(head) >= HEAD_BYTES:
                break
        return bytes(head)

    async def _quietly(self, clean: Callable[[], None]) -> None:
        try:
            await run_in_threadpool(clean)
        except ServiceError as error:
            log.warning("Left for the sweeper: %s", error.message)


class _Part:
    """Some bytes on their way into an object of their own."""

    def __init__(self, lease: UploadLease, objects: ObjectStore, receiver: Receiver) -> None:
        self.key, self.size = part_key(lease.upload.id, lease.upload.offset, lease.fence), 0
        self._storing = Storing(partial(_put, objects, self.key), "application/octet-stream", receiver.threads)

    async def send(self, data: bytes) -> None:
        await self._storing.send(data)
        self.size += len(data)

    async def finish(self) -> None:
        written = await self._storing.finish()
        if written != self.size:
            raise StorageUnavailable(f"The object store took {written} of {self.size} bytes.")

    def abort(self) -> Awaitable[None]:
        return self._storing.abort()


def _put(objects: ObjectStore, key: str, data: BinaryIO, media_type: str) -> int:
    return objects.put(key, data, media_type=media_type)


def _check_left(upload: PartialUpload, more: int) -> None:
    """Raises ValidationFailed."""
    if upload.offset + more > upload.length:
        message = f"with this body the upload would have more than its {upload.length:,} bytes"
        raise refusal({"field": "Upload-Offset", "message": message})
