"""Receiving an upload: from the socket through the form parser into the object store, never held in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from api.access.identity import identity_of
from api.upload.filepart import FilePart, Store
from api.upload.form import Form
from api.upload.multipart import MultipartReader, boundary_of
from api.upload.received import CheckFields, Filling, Received, SeveralReceived, StoredFile, Upload, Uploads
from core.errors import QueueFull, UploadTooSlow
from core.submission.intake import Intake

FORM_BYTES = 256 * 1024
"""What a form may have around its file."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class UploadLimits:
    """rate: bytes a second a client must reach in each `window` seconds spent waiting for it
    concurrent: uploads at once; of_one: of one owner with a key, who cannot keep all others out
    patience: seconds that one more waits for a place: below what clients and proxies wait for an answer
    waiting: so many at most; the server holds the first 64 KB or so of each
    """

    rate: float = 1024.0
    window: float = 60.0
    concurrent: int = 32
    of_one: int = 24
    patience: float = 20.0
    waiting: int = 500


class Receiver:
    """Takes uploads, each with one thread that writes to the object store.

    intake: the rules for files; count: told of every piece received (for metrics)
    """

    def __init__(self, *, intake: Intake, limits: UploadLimits, count: Callable[[int], None]) -> None:
        self._intake, self._limits, self._count = intake, limits, count
        self._places, self._waiting = asyncio.Semaphore(limits.concurrent), 0
        self._of_owner: dict[str, asyncio.Semaphore] = {}
        self.threads: Executor = ThreadPoolExecutor(limits.concurrent, thread_name_prefix="upload")
        """One for each place."""

    def close(self) -> None:
        """Let the threads go; uploads have ended with their requests."""
        self.threads.shutdown(wait=False)

    @asynccontextmanager
    async def place(self, request: Request) -> AsyncIterator[None]:
        """One of the places there are, first come, first served; `receive` needs it.

        Raises QueueFull when none became free in time, and ValidationFailed and TooLarge for what the headers alone rule out.
        """
        boundary_of(request.headers.get("content-type", ""))
        self._intake_for(request).check_size(declared_length(request) or 0, around=FORM_BYTES)
        async with self.slot(request.scope["identity"].owner):
            yield

    @asynccontextmanager
    async def slot(self, owner: str | None) -> AsyncIterator[None]:
        """As `place`, for what is no form. Raises QueueFull."""
        places = [self._places]
        if owner is not None:
            places.insert(0, self._of_owner.setdefault(owner, asyncio.Semaphore(self._limits.of_one)))
        if any(place.locked() for place in places) and self._waiting >= self._limits.waiting:
            raise _no_place()
        async with AsyncExitStack() as held:
            self._waiting += 1
            try:
                async with asyncio.timeout(self._limits.patience):
                    for place in places:
                        await held.enter_async_context(place)
            except TimeoutError:
                raise _no_place() from None
            finally:
                self._waiting -= 1
            yield

    async def receive(self, request: Request, spec: Form, *, store: Store, check_fields: CheckFields) -> Upload:
        """Receive one form with its file, which goes to `store`; parts that are not in `spec` are refused.

        If this raises, `store` has been made to fail first, and so leaves nothing behind (`ObjectStore.put`).
        Raises ValidationFailed, EmptyUpload, NotMedia, TooLarge, UploadTooSlow, ClientDisconnect, and what `store`
        and `check_fields` raise.
        """
        intake = self._intake_for(request)
        return await self._fill(request, Received(spec, store, check_fields, self.threads, intake), intake)

    async def receive_several(
        self, request: Request, spec: Form, *, stores: Callable[[], tuple[str, Store]], check_fields: CheckFields
    ) -> Uploads:
        """As `receive`, of a form with several files: one that is not taken is among the `refused`, and the rest goes on.

        stores: gives a store for one more file, and what to call that in the answer. If this raises, files that were stored
        before are the caller's to remove.
        """
        intake = self._intake_for(request)
        return await self._fill(request, SeveralReceived(spec, stores, check_fields, self.threads, intake), intake)

    async def receive_body(self, request: Request, filename: str, *, store: Store) -> StoredFile:
        """As `receive`, where the body is the file itself."""
        intake = self._intake_for(request)
        file = FilePart(filename, store=store, threads=self.threads, intake=intake)
        try:
            async for piece in self.pieces(request):
                self._count(len(piece))
                await file.write(piece)
            await file.finish()
        except BaseException:
            await file.abort()
            raise
        return StoredFile(filename=file.filename, media_type=file.media_type, bytes=file.size, sha256=file.sha256)

    async def _fill(self, request: Request, form: Filling[T], intake: Intake) -> T:
        reader = MultipartReader(boundary_of(request.headers.get("content-type", "")))
        size = 0
        try:
            async for piece in self.pieces(request):
                self._count(len(piece))
                size += len(piece)
                intake.check_size(size, around=FORM_BYTES)  # what is around the file, and behind it, has an end too
                for event in reader.feed(piece):
                    await form.take(event)
            reader.finish()
            return await form.finish()
        except BaseException:
            await form.abort()
            raise

    def _intake_for(self, request: Request) -> Intake:
        return self._intake.within(identity_of(request.scope).limits.upload_mb)

    async def pieces(self, request: Request) -> AsyncIterator[bytes]:
        """The body as it arrives. The pace counts only time spent waiting for the client. Raises UploadTooSlow, ClientDisconnect."""
        waited, received = 0.0, 0
        more = True
        while more:
            start = time.monotonic()
            message = None
            try:
                async with asyncio.timeout(self._limits.window - waited):
                    message = await request.receive()
            except TimeoutError:
                pass
            waited += time.monotonic() - start
            if message is not None:
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                more = message.get("more_body", False)
                body = message.get("body", b"")
                received += len(body)
                if body:
                    yield body
            if waited >= self._limits.window:
                if more and received < self._limits.rate * self._limits.window:
                    raise UploadTooSlow(f"Only {received} bytes came in {waited:.0f} seconds.")
                waited, received = 0.0, 0


def _no_place() -> QueueFull:
    return QueueFull("As many uploads as this service takes at once are coming in; try again later.", retry_after=5)


def declared_length(request: Request) -> int | None:
    """The body's length by its header; None when it comes in chunks."""
    declared = request.headers.get("content-length", "")
    return int(declared) if declared.isdigit() else None
