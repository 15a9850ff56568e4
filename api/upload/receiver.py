"""Receiving an upload: from the socket through the form parser into the object store, never held in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO

from starlette.requests import ClientDisconnect, Request

from api.access.identity import identity_of
from api.upload.filepart import FilePart, Store
from api.upload.form import Form
from api.upload.multipart import Event, MultipartReader, PartData, PartEnd, PartStart, boundary_of
from core.errors import QueueFull, RequestError, ServiceError, UploadTooSlow, refusal
from core.submission.intake import Intake

FIELD_BYTES = 16_384
"""Longest form field, in bytes."""

FORM_BYTES = 256 * 1024
"""What a form may have around its file."""

Fields = dict[str, str]
"""The form's fields that come once, as sent."""

Repeated = dict[str, list[str]]
"""Those that may come several times, each in the order sent."""

CheckFields = Callable[[Fields], Awaitable[None]]
"""Checks the fields that came before the file, so that a bad one is refused before the file is sent."""


@dataclass(frozen=True, kw_only=True)
class UploadLimits:
    """rate: bytes a second a client must reach in each `window` seconds spent waiting for it
    concurrent: uploads at once
    patience: seconds that one more waits for a place: below what clients and proxies wait for an answer
    waiting: so many at most; the server holds the first 64 KB or so of each
    """

    rate: float = 1024.0
    window: float = 60.0
    concurrent: int = 32
    patience: float = 20.0
    waiting: int = 500


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A complete upload, stored. sha256 and bytes are of the file."""

    fields: Fields
    repeated: Repeated
    filename: str
    media_type: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """One file of several, stored for the job of that id. sha256 and bytes are of the file."""

    job_id: str
    filename: str
    media_type: str
    bytes: int
    sha256: str
    #: why it was not taken: then nothing of it is stored
    refused: ServiceError | None = None


@dataclass(frozen=True, kw_only=True)
class Several:
    """A complete upload of several files, in the order sent."""

    fields: Fields
    files: list[Arrived]


Begin = Callable[[], tuple[str, Store]]
"""For the next file: the id of its job, and what stores it."""


class Receiver:
    """Takes uploads, each with one thread that writes to the object store.

    intake: the rules for files; count: told of every piece received (for metrics)
    """

    def __init__(self, *, intake: Intake, limits: UploadLimits, count: Callable[[int], None]) -> None:
        self._intake, self._limits, self._count = intake, limits, count
        self._places, self._waiting = asyncio.Semaphore(limits.concurrent), 0
        self._threads = ThreadPoolExecutor(limits.concurrent, thread_name_prefix="upload")

    def close(self) -> None:
        """Let the threads go; uploads have ended with their requests."""
        self._threads.shutdown(wait=False)

    @asynccontextmanager
    async def place(self, request: Request, *, several: bool = False) -> AsyncIterator[None]:
        """One of the places there are, first come, first served; `receive` needs it. several: files may come in one form

        Raises QueueFull when none became free in time, and ValidationFailed and TooLarge for what the headers alone rule out.
        """
        boundary_of(request.headers.get("content-type", ""))
        if not several:
            self._intake_for(request).check_size(declared_length(request) or 0, around=FORM_BYTES)
        if self._places.locked() and self._waiting >= self._limits.waiting:
            raise _no_place()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._limits.patience):
                await self._places.acquire()
        except TimeoutError:
            raise _no_place() from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._places.release()

    async def receive(self, request: Request, spec: Form, *, store: Store, check_fields: CheckFields) -> Upload:
        """Receive one form with its file, which goes to `store`; parts that are not in `spec` are refused.

        If this raises, `store` has been made to fail first, and so leaves nothing behind (`ObjectStore.put`).
        Raises ValidationFailed, EmptyUpload, NotMedia, TooLarge, UploadTooSlow, ClientDisconnect, and what `store`
        and `check_fields` raise.
        """
        form = _Received(spec, store, check_fields, self._threads, self._intake_for(request))
        await self._take(request, form)
        return form.upload()

    async def receive_several(self, request: Request, spec: Form, *, begin: Begin) -> Several:
        """Receive one form with any number of files; one that cannot be taken leaves the others alone.

        If this raises, it is the caller who removes the files that were stored. Raises ValidationFailed for the form,
        UploadTooSlow, ClientDisconnect.
        """
        form = _ReceivedSeveral(spec, begin, self._threads, self._intake_for(request))
        await self._take(request, form)
        return form.several()

    async def _take(self, request: Request, form: _Received) -> None:
        reader = MultipartReader(boundary_of(request.headers.get("content-type", "")))
        try:
            async for piece in self._pieces(request):
                self._count(len(piece))
                for event in reader.feed(piece):
                    await form.take(event)
            reader.finish()
            await form.finish_file()
        except BaseException:
            await form.abort()
            raise

    def _intake_for(self, request: Request) -> Intake:
        return self._intake.within(identity_of(request.scope).limits.upload_mb)

    async def _pieces(self, request: Request) -> AsyncIterator[bytes]:
        """The body as it arrives. The pace counts only time spent waiting for the client."""
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


class _Received:
    """The parts of one form, in any order."""

    def __init__(self, spec: Form, store: Store, check_fields: CheckFields, threads: Executor, intake: Intake) -> None:
        self._spec, self._store, self._check_fields = spec, store, check_fields
        self._threads, self._intake = threads, intake
        self._fields: Fields = {}
        self._repeated: dict[str, list[str]] = {name: [] for name in spec.repeated}
        self._file: FilePart | None = None
        self._current: tuple[str, bytearray] | FilePart | None = None

    async def take(self, event: Event) -> None:
        match event:
            case PartStart(name=name, filename=filename):
                await self._start(name, filename)
            case PartData(data=data):
                await self._data(data)
            case PartEnd():
                await self._end()

    async def finish_file(self) -> None:
        """The form is complete, and so is its file."""
        if self._file is None:
            raise refusal({"field": self._spec.file, "message": "missing"})
        await self._file.finish()

    def upload(self) -> Upload:
        file = self._file
        assert file is not None
        return Upload(
            fields=self._fields,
            repeated=self._repeated,
            filename=file.filename,
            media_type=file.media_type,
            bytes=file.size,
            sha256=file.sha256,
        )

    async def abort(self) -> None:
        if self._file is not None:
            await self._file.abort()

    async def _start(self, name: str, filename: str | None) -> None:
        spec = self._spec
        if name == spec.file:
            if self._file is not None:
                raise refusal({"field": name, "message": "more than one file; send each in a request of its own"})
            if filename is None:
                raise refusal({"field": name, "message": "sent as a plain field; it has to be a part with a file name"})
            await self._check_fields(self._fields)
            self._current = self._file = FilePart(
                filename, store=self._store, threads=self._threads, intake=self._intake, head=spec.head
            )
        elif name not in spec.fields:
            message = f"no such field; there are: {', '.join((spec.file, *spec.fields))}"
            raise refusal({"field": name, "message": message})
        elif name in self._fields:
            raise refusal({"field": name, "message": "sent more than once"})
        elif filename is not None:
            raise refusal({"field": name, "message": "sent as a file; it is a plain field"})
        else:
            self._current = (name, bytearray())

    async def _data(self, data: bytes) -> None:
        if isinstance(self._current, FilePart):
            await self._current.write(data)
        elif self._current is not None:
            name, value = self._current
            value += data
            if len(value) > FIELD_BYTES:
                raise refusal({"field": name, "message": f"longer than {FIELD_BYTES} bytes"})

    async def _end(self) -> None:
        if isinstance(self._current, tuple):
            name, value = self._current
            try:
                text = value.decode("utf-8")
            except UnicodeDecodeError:
                raise refusal({"field": name, "message": "not UTF-8"}) from None
            if name in self._repeated:
                self._repeated[name].append(text)
            else:
                self._fields[name] = text
        self._current = None


class _ReceivedSeveral(_Received):
    """The same with files in any number, each of which is complete at the end of its part."""

    def __init__(self, spec: Form, begin: Begin, threads: Executor, intake: Intake) -> None:
        super().__init__(spec, _no_store, _no_check, threads, intake)
        self._begin = begin
        self._job_id = ""
        self._refused: ServiceError | None = None
        self._files: list[Arrived] = []

    async def finish_file(self) -> None:
        if not self._files:
            raise refusal({"field": self._spec.file, "message": "missing"})

    def several(self) -> Several:
        return Several(fields=self._fields, files=self._files)

    async def _start(self, name: str, filename: str | None) -> None:
        if name == self._spec.file:
            self._file, self._refused = None, None
            self._job_id, self._store = self._begin()
        await super()._start(name, filename)

    async def _data(self, data: bytes) -> None:
        if not isinstance(self._current, FilePart):
            await super()._data(data)
        elif self._refused is None:
            try:
                await self._current.write(data)
            except RequestError as error:
                self._refused = error
                await self._current.abort()

    async def _end(self) -> None:
        file = self._current
        await super()._end()
        if not isinstance(file, FilePart):
            return
        if self._refused is None:
            try:
                await file.finish()
            except RequestError as error:
                self._refused = error
        self._file = None
        self._files.append(
            Arrived(
                job_id=self._job_id,
                filename=file.filename,
                media_type=file.media_type,
                bytes=file.size,
                sha256=file.sha256,
                refused=self._refused,
            )
        )


def _no_store(data: BinaryIO, media_type: str) -> int:
    raise NotImplementedError


async def _no_check(fields: Fields) -> None: ...


def _no_place() -> QueueFull:
    return QueueFull("As many uploads as this service takes at once are coming in; try again later.", retry_after=5)


def declared_length(request: Request) -> int | None:
    """The body's length by its header; None when it comes in chunks."""
    declared = request.headers.get("content-length", "")
    return int(declared) if declared.isdigit() else None
