"""Receiving an upload: from the socket through the form parser into the object store, never held in memory."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, cast

from starlette.requests import ClientDisconnect, Request

from api.form import JobForm, refusal
from api.multipart import MultipartReader, PartData, PartEnd, PartStart, boundary_of
from api.pipe import Pipe
from api.problems import UploadTooSlow
from core.errors import EmptyUpload, QueueFull, StorageUnavailable, TooLarge
from core.sniff import HEAD_BYTES, sniff

log = logging.getLogger(__name__)

FIELD_BYTES = 16_384
"""Longest form field, in bytes."""

FORM_BYTES = 256 * 1024
"""What a form may have around its file."""

Store = Callable[[BinaryIO, str], int]
"""(stream, media type) -> bytes written; runs in a thread of its own."""


@dataclass(frozen=True, kw_only=True)
class UploadLimits:
    """rate: bytes a second a client must reach in each `window` seconds spent waiting for it; concurrent: uploads at once."""

    rate: float = 1024.0
    window: float = 60.0
    concurrent: int = 32


class GivenUp(Exception):
    """What the store's reader raises when the upload will not be completed."""


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A complete upload. fields: the form's other fields as sent; sha256 and bytes are of the file."""

    fields: dict[str, str]
    filename: str
    media_type: str
    bytes: int
    sha256: str


class Receiver:
    """Takes uploads, each with one thread that writes to the object store.

    max_bytes: largest file; count: told of every piece received (for metrics)
    """

    def __init__(self, *, max_bytes: int, limits: UploadLimits, count: Callable[[int], None]) -> None:
        self.max_bytes = max_bytes
        self._limits = limits
        self._count = count
        self._running = 0
        self._threads = ThreadPoolExecutor(limits.concurrent, thread_name_prefix="upload")

    def close(self) -> None:
        """Let the threads go; uploads have ended with their requests."""
        self._threads.shutdown(wait=False)

    def precheck(self, request: Request) -> None:
        """Refuse what the headers alone rule out. Raises ValidationFailed, TooLarge, QueueFull."""
        boundary_of(request.headers.get("content-type", ""))
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self.max_bytes + FORM_BYTES:
            raise self._too_large()
        if self._running >= self._limits.concurrent:
            raise QueueFull(
                "As many uploads as this service takes at once are coming in; try again later.", retry_after=5
            )

    async def receive(
        self, request: Request, *, store: Store, early: Callable[[dict[str, str]], Awaitable[None]]
    ) -> Upload:
        """Receive one form with its file, which goes to `store`.

        early: checks the fields that came before the file, so that a bad one is refused before the file is sent.
        When this raises, `store` has been made to fail, and so leaves nothing behind (`ObjectStore.put`).
        Raises ValidationFailed, EmptyUpload, NotMedia, TooLarge, UploadTooSlow, ClientDisconnect, and what `store` raises.
        """
        form = _Form(self, store, early)
        reader = MultipartReader(boundary_of(request.headers.get("content-type", "")))
        self._running += 1
        try:
            async for piece in self._pieces(request):
                self._count(len(piece))
                for event in reader.feed(piece):
                    await form.take(event)
            reader.finish()
            return await form.finish()
        except BaseException as error:
            await form.abort(error)
            raise
        finally:
            self._running -= 1

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

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The file is larger than the {self.max_bytes:,} bytes this service takes (MAX_UPLOAD_MB).",
                        max_bytes=self.max_bytes)  # fmt: skip

    def _file(self, filename: str, store: Store) -> _File:
        return _File(clean_filename(filename), store, self._threads, self.max_bytes, self._too_large)


class _Form:
    """The parts of one form, in any order."""

    def __init__(self, receiver: Receiver, store: Store, early: Callable[[dict[str, str]], Awaitable[None]]) -> None:
        self._receiver, self._store, self._early = receiver, store, early
        self._fields: dict[str, str] = {}
        self._field: tuple[str, bytearray] | None = None
        self._file: _File | None = None

    async def take(self, event: PartStart | PartData | PartEnd) -> None:
        match event:
            case PartStart(name=name, filename=filename):
                await self._start(name, filename)
            case PartData(data=data):
                if self._field is None:
                    assert self._file is not None
                    await self._file.write(data)
                else:
                    name, value = self._field
                    value += data
                    if len(value) > FIELD_BYTES:
                        raise refusal({"field": name, "message": f"longer than {FIELD_BYTES} bytes"})
            case PartEnd():
                if self._field is not None:
                    name, value = self._field
                    try:
                        self._fields[name] = value.decode("utf-8")
                    except UnicodeDecodeError:
                        raise refusal({"field": name, "message": "not UTF-8"}) from None
                self._field = None

    async def _start(self, name: str, filename: str | None) -> None:
        if name == "file":
            if self._file is not None:
                raise refusal({"field": "file", "message": "more than one file; send each in a request of its own"})
            if filename is None:
                raise refusal(
                    {"field": "file", "message": "sent as a plain field; it has to be a file part with a file name"}
                )
            await self._early(self._fields)
            self._file = self._receiver._file(filename, self._store)
        elif name not in JobForm.model_fields:
            raise refusal(
                {"field": name, "message": f"no such field; there are: file, {', '.join(JobForm.model_fields)}"}
            )
        elif name in self._fields:
            raise refusal({"field": name, "message": "sent more than once"})
        elif filename is not None:
            raise refusal({"field": name, "message": "sent as a file; it is a plain field"})
        else:
            self._field = (name, bytearray())

    async def finish(self) -> Upload:
        if self._file is None:
            raise refusal({"field": "file", "message": "missing"})
        return await self._file.finish(self._fields)

    async def abort(self, error: BaseException) -> None:
        if self._file is not None:
            await self._file.abort(error)


class _File:
    """The file part: looked at, then piped into the store."""

    def __init__(
        self, name: str, store: Store, threads: ThreadPoolExecutor, limit: int, too_large: Callable[[], TooLarge]
    ) -> None:
        self._name, self._store, self._threads, self._limit, self._too_large = name, store, threads, limit, too_large
        self._head = bytearray()
        self._size = 0
        self._media_type = ""
        self._pipe: Pipe | None = None
        self._stored: asyncio.Future[int] | None = None

    async def write(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limit:
            raise self._too_large()
        if self._pipe is not None:
            await self._send(data)
            return
        self._head += data
        if len(self._head) >= HEAD_BYTES:
            await self._begin()

    async def finish(self, fields: dict[str, str]) -> Upload:
        if not self._size:
            raise EmptyUpload
        if self._pipe is None:
            await self._begin()
        assert self._pipe is not None and self._stored is not None
        self._pipe.end()
        written = await self._stored
        if written != self._size:
            raise StorageUnavailable(f"The object store took {written} of {self._size} bytes.")
        return Upload(fields=fields, filename=self._name, media_type=self._media_type, bytes=self._size,
                      sha256=self._pipe.sha256)  # fmt: skip

    async def abort(self, error: BaseException) -> None:
        """Make the store fail, and wait until it has cleaned up."""
        if self._pipe is None or self._stored is None:
            return
        self._pipe.fail(GivenUp(type(error).__name__))
        await asyncio.wait([self._stored])
        if not self._stored.cancelled() and self._stored.exception() is None:
            log.debug("An upload was given up after its last byte was stored")

    async def _begin(self) -> None:
        self._media_type = sniff(bytes(self._head), self._name)
        self._pipe = pipe = Pipe()
        stream = cast(BinaryIO, pipe)
        self._stored = asyncio.get_running_loop().run_in_executor(self._threads, self._store, stream, self._media_type)
        self._stored.add_done_callback(lambda _: pipe.reader_gone())
        head, self._head = bytes(self._head), bytearray()
        await self._send(head)

    async def _send(self, data: bytes) -> None:
        assert self._pipe is not None and self._stored is not None
        try:
            await self._pipe.send(data)
        except BrokenPipeError:
            await self._stored  # raises what stopped the store
            raise StorageUnavailable("The object store stopped reading before the end of the upload.") from None


def clean_filename(name: str) -> str:
    """A name to show and to offer for downloads: no folders, no control characters, at most 255 bytes of UTF-8."""
    base = re.split(r"[/\\]", name)[-1]
    kept = "".join(c for c in base if unicodedata.category(c)[0] != "C").strip()
    while len(kept.encode()) > 255:
        stem, dot, extension = kept.rpartition(".")
        # shorten the stem, not the extension, as long as there is one worth the name
        kept = f"{stem[:-1]}.{extension}" if dot and stem and len(extension) < 16 else kept[:-1]
    return kept if kept.strip(". ") else "upload"
