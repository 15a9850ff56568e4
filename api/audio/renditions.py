"""A job's audio in forms that players can play: made at first need, given out as it is made, and kept as an object.

While one is made it lies in a temporary file that all who want it read along; when nobody wants it any more, its making
ends. What was made to its end goes into the job's folder, and goes away with that or with the audio's retention. A cache:
what the sweeper takes for an orphan is made again. Each API process makes its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
from starlette.concurrency import run_in_threadpool

from api.audio.forms import FORMS, FormName
from core.audio.source_file import write_all
from core.errors import Cancelled, NotReady, ServiceError, Unsupported
from core.jobs.job import Job
from core.objects.store import ObjectStore, rendition_key, rendition_prefix
from core.system.disk import disk_full

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds that a request waits for the first bytes."""

SOON = 1.0
"""A form that is ready so soon is waited for: then players know its size and can go anywhere in it at once."""

LINGER = 10.0
"""Seconds for which one is still made when nobody wants it: players come back, and so does who was told to."""

TICK = 0.1
"""How often a reader that has had all looks for more, seconds."""

BLOCK_BYTES = 256 * 1024

Give = Callable[[bytes], object]
"""Takes the next bytes, or b"" every now and then; raises Cancelled when nobody wants them any more."""

Encode = Callable[[Job, FormName, Give], None]
"""Makes a job's audio into that form (`api.audio.encoding.encode`). Raises KeyError when the source is missing."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A form that lies in the object store."""

    key: str
    size: int


class Making:
    """A form that is being made: one thread gives, any number of readers read along."""

    def __init__(self, folder: Path | None, linger: float) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 (`_close` does)
        self._linger = linger
        self._changed = threading.Condition()
        self._size, self._readers, self._left = 0, 0, time.monotonic()
        self._ended = self._settled = False
        self._error: BaseException | None = None

    def give(self, data: bytes) -> None:
        """Raises Cancelled when nobody has read along for a while, DiskFull."""
        with self._changed:
            if not self._readers and time.monotonic() - self._left > self._linger:
                raise Cancelled("Nobody listens any more.")
        if data:
            with disk_full():
                write_all(self._file, data)
            with self._changed:
                self._size += len(data)
                self._changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """There is no more to come."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def store(self, objects: ObjectStore, key: Callable[[int], str], media_type: str) -> None:
        """Put what has ended into the object store."""
        self._file.seek(0)
        objects.put(key(self._size), self._file, media_type=media_type)

    def settle(self) -> None:
        """Nothing will change any more."""
        with self._changed:
            self._settled = True
            self._changed.notify_all()
            self._close()

    def attach(self) -> None:
        with self._changed:
            self._readers += 1

    def detach(self) -> None:
        with self._changed:
            self._readers, self._left = self._readers - 1, time.monotonic()
            self._close()

    def _close(self) -> None:
        if self._settled and not self._readers:
            self._file.close()

    def begun(self, waited: float, patience: float) -> bool | None:
        """Whether all of it is ready, after so many seconds of waiting; None: neither that nor its first bytes, or it may be soon.

        Raises what went wrong, NotReady.
        """
        with self._changed:
            if self._settled or self._error is not None:
                self._check()
                return True
            if self._size and waited >= min(SOON, patience):
                return False
        if waited >= patience:
            raise NotReady("The audio is being made playable.", retry_after=2)
        return None

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    async def first(self, patience: float) -> bool:
        """Waits for the first bytes, and a little longer where all may be ready soon; whether it is. Raises as `begun`."""
        start = time.monotonic()
        while True:
            whole = self.begun(time.monotonic() - start, patience)
            if whole is not None:
                return whole
            await asyncio.sleep(TICK / 4)

    async def blocks(self) -> AsyncIterator[bytes]:
        """All of it, as it comes, for one that is attached. Raises what goes wrong."""
        place = 0
        while True:
            with self._changed:
                size, ended = self._size, self._ended
            if place < size:
                data = await run_in_threadpool(os.pread, self._file.fileno(), min(BLOCK_BYTES, size - place), place)
                place += len(data)
                yield data
            elif ended:
                self._check()
                return
            else:
                await asyncio.sleep(TICK)


class Renditions:
    """The forms of jobs' audio. most: so many are made at once; room: raises when there is none on the disk

    there: whether a job's audio may be kept still; folder: on a disk, for what is being made
    """

    def __init__(
        self,
        objects: ObjectStore,
        encode: Encode,
        *,
        most: int,
        there: Callable[[str], bool],
        room: Callable[[], object],
        folder: Path | None = None,
        patience: float = PATIENCE,
        linger: float = LINGER,
    ) -> None:
        self._objects, self._encode, self._most = objects, encode, most
        self._there, self._room, self._folder = there, room, folder
        self._patience, self._linger = patience, linger
        self._lock = threading.Lock()
        self._making: dict[tuple[str, str], Making] = {}

    def kept(self, job: Job, name: FormName) -> Kept | None:
        """The form, if it has been made."""
        prefix = rendition_prefix(job.id, job.source.sha256)
        for key in self._objects.keys(prefix):
            size, _, form = key.removeprefix(prefix).partition(".")
            if form == name and size.isdigit():
                return Kept(key=key, size=int(size))
        return None

    async def of(self, job: Job, name: FormName) -> Kept | Making:
        """The form, or its beginning: then the caller is attached to it. Who waits for that holds no thread meanwhile.

        Raises NotReady while there is no place or no beginning, Unsupported, InsufficientStorage, what is wrong with the file,
        and KeyError when that is missing.
        """
        if found := await run_in_threadpool(self.kept, job, name):
            return found
        with anyio.CancelScope(shield=True):  # who is attached has to know it
            making = await run_in_threadpool(self._attached, job, name)
        try:
            if await making.first(self._patience) and (found := await run_in_threadpool(self.kept, job, name)):
                making.detach()
                return found
        except BaseException:
            making.detach()
            raise
        return making

    def _attached(self, job: Job, name: FormName) -> Making:
        if not self._most:
            raise Unsupported("This service makes no audio playable (MAX_AUDIO_CONVERSIONS).")
        with self._lock:
            making = self._making.get((job.id, name))
            if making is None:
                if len(self._making) >= self._most:
                    raise NotReady("Other files are being made playable.", retry_after=5)
                self._room()
                making = self._making[job.id, name] = Making(self._folder, self._linger)
                making.attach()
                # its end is not waited for: the program that it waits for dies with it
                threading.Thread(target=self._run, args=(job, name, making), name="rendition", daemon=True).start()
            else:
                making.attach()
            return making

    def _run(self, job: Job, name: FormName, making: Making) -> None:
        try:
            self._encode(job, name, making.give)
            making.end()
            self._keep(job, name, making)
        except Cancelled:
            log.info("Job %s: nobody waits for its audio as %s any more", job.id, name)
            making.end(NotReady("The audio was no longer wanted.", retry_after=1))  # to who has come this moment
        except BaseException as error:
            making.end(error)
        finally:
            with self._lock:
                del self._making[job.id, name]
            making.settle()

    def _keep(self, job: Job, name: FormName, making: Making) -> None:
        def key(size: int) -> str:
            return rendition_key(job.id, job.source.sha256, size, name)

        try:
            making.store(self._objects, key, FORMS[name].media_type)
            if not self._there(job.id) and (found := self.kept(job, name)):
                self._objects.delete(found.key)  # removed, or expired, in the meantime
        except ServiceError as error:
            log.warning("Job %s: its audio as %s is not kept: %s", job.id, name, error.message)
