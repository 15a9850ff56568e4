"""The file of a form: its beginning is looked at, then it is piped into the store by a thread of its own."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Callable
from concurrent.futures import Executor
from typing import BinaryIO, cast

from api.upload.pipe import Pipe
from core.audio.sniff import HEAD_BYTES
from core.errors import EmptyUpload, StorageUnavailable
from core.submission.intake import Intake

Store = Callable[[BinaryIO, str], int]
"""(stream, media type) -> bytes written; runs in a thread. A read that raises means that nothing may be left behind."""


NAME_BYTES = 255
"""What a file's name may have, in UTF-8, on all common systems."""


class GivenUp(Exception):
    """What the store's read raises when the upload will not be completed."""


class FilePart:
    """One file as it arrives, held against the rules of `intake`; size, media_type and sha256 are final after `finish`.

    head: bytes that belong before those that arrive
    """

    def __init__(self, filename: str, *, store: Store, threads: Executor, intake: Intake, head: bytes = b"") -> None:
        self.filename = clean_filename(filename)
        self.size = self._empty = len(head)
        self.media_type = ""
        self.sha256 = ""
        self._store, self._threads, self._intake = store, threads, intake
        self._head = bytearray(head)
        self._storing: Storing | None = None

    async def write(self, data: bytes) -> None:
        """Take some bytes. Raises TooLarge, NotMedia, and what the store raises."""
        self.size += len(data)
        self._intake.check_size(self.size)
        if self._storing is not None:
            await self._storing.send(data)
            return
        self._head += data
        if len(self._head) >= HEAD_BYTES:
            await self._begin()

    async def finish(self) -> None:
        """That was all: wait until it is stored for good. Raises EmptyUpload, NotMedia, and what the store raises."""
        if self.size == self._empty:
            raise EmptyUpload
        storing = self._storing or await self._begin()
        written = await storing.finish()
        if written != self.size:
            raise StorageUnavailable(f"The object store took {written} of {self.size} bytes.")
        self.sha256 = storing.pipe.sha256

    async def abort(self) -> None:
        """Make the store fail, and wait until it has cleaned up."""
        if self._storing is not None:
            await self._storing.abort()

    async def _begin(self) -> Storing:
        loop = asyncio.get_running_loop()
        self.media_type = await loop.run_in_executor(
            self._threads, self._intake.media_type, bytes(self._head), self.filename
        )
        self._storing = Storing(self._store, self.media_type, self._threads)
        head, self._head = bytes(self._head), bytearray()
        await self._storing.send(head)
        return self._storing


class Storing:
    """A store at work in its thread, and the pipe it reads from."""

    def __init__(self, store: Store, media_type: str, threads: Executor) -> None:
        self.pipe = Pipe()
        loop = asyncio.get_running_loop()
        self._done = loop.run_in_executor(threads, store, cast(BinaryIO, self.pipe), media_type)
        self._done.add_done_callback(lambda _: self.pipe.reader_gone())

    async def send(self, data: bytes) -> None:
        try:
            await self.pipe.send(data)
        except BrokenPipeError:
            await self._done  # raises what stopped the store
            raise StorageUnavailable("The object store stopped reading before the end of the upload.") from None

    async def finish(self) -> int:
        self.pipe.end()
        return await self._done

    async def abort(self) -> None:
        self.pipe.fail(GivenUp())
        await asyncio.wait([self._done])
        if not self._done.cancelled():
            self._done.exception()  # seen: it is what made the upload fail, or GivenUp itself


def clean_filename(name: str) -> str:
    """A name to show and to offer for downloads: no folders, no control characters, at most NAME_BYTES."""
    base = re.split(r"[/\\]", name)[-1]
    kept = "".join(c for c in base if unicodedata.category(c)[0] != "C").strip()
    stem, dot, extension = kept.rpartition(".")
    # the stem is shortened, not the extension, if there is one worth the name
    end = dot + extension if stem and len(extension) < 16 else ""
    room = NAME_BYTES - len(end.encode())
    kept = kept.removesuffix(end).encode()[:room].decode(errors="ignore") + end
    return kept if kept.strip(". ") else "upload"
