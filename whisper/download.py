"""Fetching models on first need: mirrors in order, verified before they get their name, once per machine."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

import filelock

from core.errors import Cancelled, DiskFull, ModelInvalid, ModelUnavailable, ServiceError, UnknownModel
from core.objects import ObjectStore
from whisper.catalogue import HUB, ModelInfo
from whisper.fetch import PAUSES, PartFile, Progress, fetch_url, shown
from whisper.models import LOCAL, ModelStore, ValidModel, file_key, read_header
from whisper.types import Cancel

if TYPE_CHECKING:  # see whisper.fetch
    import httpx

log = logging.getLogger(__name__)


class Writer(Protocol):
    """Takes bytes."""

    def write(self, data: bytes, /) -> int: ...


class ModelMirror(Protocol):
    """A copy of the models inside the own network."""

    def fetch(self, info: ModelInfo, writer: Writer) -> bool:
        """Copy the model's bytes into `writer`; False when it is not there."""
        ...

    def publish(self, info: ModelInfo, file: BinaryIO) -> None:
        """Keep a copy of a verified file."""
        ...


class ObjectStoreMirror:
    """Models in the object store, under `models/ggml-<name>.bin`."""

    def __init__(self, objects: ObjectStore) -> None:
        self.objects = objects

    def fetch(self, info: ModelInfo, writer: Writer) -> bool:
        try:
            stream = self.objects.open(self._key(info))
        except KeyError:
            return False
        with stream:
            while block := stream.read(1 << 20):
                writer.write(block)
        return True

    def publish(self, info: ModelInfo, file: BinaryIO) -> None:
        self.objects.put(self._key(info), file)

    @staticmethod
    def _key(info: ModelInfo) -> str:
        return f"models/{info.filename}"


def http_client(*, connect: float = 10.0, idle: float = 30.0) -> httpx.Client:
    """A client that gives up after `connect` seconds without a connection and `idle` seconds without a byte."""
    import httpx

    return httpx.Client(timeout=httpx.Timeout(idle, connect=connect), follow_redirects=True)


class ModelDownloader:
    """Makes sure that a model's verified file is here. One per consumer; safe from threads and forked processes.

    base_urls: tried in order, each asked for `<base>/ggml-<name>.bin`; empty = the models' public home
    total_timeout: seconds one download may take in all
    mirror: asked first, and given what had to come from outside
    pauses: seconds between tries of an address that brings nothing
    """

    def __init__(
        self,
        store: ModelStore,
        base_urls: Sequence[str] = (),
        *,
        client: Callable[[], httpx.Client] = http_client,
        total_timeout: float = 6 * 3600.0,
        mirror: ModelMirror | None = None,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self.store = store
        self.base_urls = tuple(url.rstrip("/") for url in base_urls) or (HUB,)
        self._client = client
        self._total_timeout = total_timeout
        self._mirror = mirror
        self._pauses = pauses
        self._announced: set[str] = set()

    def ensure_model_exists(
        self, name: str, *, progress: Progress | None = None, cancel: Cancel | None = None, announce: bool = False
    ) -> Path:
        """The path of the model's verified file, fetched if need be.

        announce: say so at INFO even where nothing has to be done (once per object, forks included)

        Raises UnknownModel; ModelUnavailable, saying what to do (also for a `local:` file that is not here);
        ModelInvalid (wrong checksum, not a model); DiskFull; Cancelled.
        """
        try:
            return self._ensured(name, progress, cancel, announce)
        except UnknownModel as error:
            if not name.startswith(LOCAL):
                raise
            # who asked for it may have seen it on another machine, or before it was removed
            raise ModelUnavailable(f"{error.message} Put the file there by hand; it is fetched from nowhere.", model=name) from error

    def _ensured(self, name: str, progress: Progress | None, cancel: Cancel | None, announce: bool) -> Path:
        if announce and name not in self._announced:
            self._announced.add(name)
            log.info("Ensuring model exists: %s", name)
            return self._ensure(name, progress, cancel, quiet=True).path
        found = self.store.validated(name)
        if found is None:
            return self._ensure(name, progress, cancel, quiet=False).path
        log.debug("Model %s already validated in cache", name)
        return found.path

    def _ensure(self, name: str, progress: Progress | None, cancel: Cancel | None, *, quiet: bool) -> ValidModel:
        info = self.store.info(name)
        with self._alone(info, cancel):
            found = self.store.validated(name)
            if found is not None:
                log.debug("Model %s already validated in cache", name)
                return found
            if not quiet:
                log.info("Ensuring model exists: %s", name)
            if self.store.path(name) is None:
                self._fetch(info, progress, cancel)
            return self.store.validate(name)

    @contextmanager
    def _alone(self, info: ModelInfo, cancel: Cancel | None) -> Iterator[None]:
        """One thread of one process per model; the others wait and then find it done."""
        try:
            self.store.folder.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.store.folder / f".{info.filename}.lock")
            while True:
                try:
                    lock.acquire(timeout=0.25, poll_interval=0.05)
                    break
                except filelock.Timeout:
                    if cancel is not None and cancel.is_set():
                        raise Cancelled("The download was cancelled.") from None
        except OSError as error:
            if self.store.path(info.name) is None:
                raise self._unavailable(info, [f"{self.store.folder} cannot be written: {error.strerror}"]) from error
            yield  # a read-only folder with the file in it: at worst two processes hash it at once
            return
        try:
            yield
        finally:
            lock.release()

    def _fetch(self, info: ModelInfo, progress: Progress | None, cancel: Cancel | None) -> None:
        deadline = time.monotonic() + self._total_timeout
        failures: list[tuple[str, ServiceError]] = []

        def attempt(where: str, copy: Callable[[PartFile], bool]) -> bool:
            path = self.store.part(info)
            try:
                with PartFile(path, total=info.bytes, deadline=deadline, progress=progress, cancel=cancel) as part:
                    return copy(part) and self._accept(info, part)
            except ModelUnavailable as error:  # the part stays, to be resumed from
                failures.append((where, error))
            except ModelInvalid as error:
                path.unlink(missing_ok=True)
                failures.append((where, error))
            except DiskFull:
                path.unlink(missing_ok=True)
                raise
            return False

        if self._mirror is not None and attempt("the object store", partial(self._from_mirror, info)):
            return
        with self._client() as client:
            for base in self.base_urls:
                url = f"{base}/{info.filename}"
                log.info("Downloading model %s from %s", info.name, shown(base))
                if attempt(shown(url), partial(self._from_url, client, url, info)):
                    self._publish(info)
                    return
        reasons = [f"{where} ({error.message})" for where, error in failures]
        if failures and all(isinstance(error, ModelInvalid) for _, error in failures):
            raise ModelInvalid(
                f"What is served as model {info.name} is not that model: {'; '.join(reasons)}.", model=info.name
            )
        raise self._unavailable(info, reasons)

    def _from_mirror(self, info: ModelInfo, part: PartFile) -> bool:
        assert self._mirror is not None
        copy = _WholeCopy(part)
        try:
            found = self._mirror.fetch(info, copy)
            if found:
                copy.begin()  # an empty object is no reason to believe in what lay here
            return found
        except (ModelInvalid, ModelUnavailable, DiskFull, Cancelled):
            raise
        except ServiceError as error:
            raise ModelUnavailable(error.message) from error

    def _from_url(self, client: httpx.Client, url: str, info: ModelInfo, part: PartFile) -> bool:
        fetch_url(client, url, part, pauses=self._pauses)
        if part.resumed and info.sha256 not in (None, part.sha256()):
            # the beginning may stem from another server or another day: one clean try before the source is blamed
            part.restart()
            fetch_url(client, url, part, pauses=self._pauses)
        return True

    def _accept(self, info: ModelInfo, part: PartFile) -> bool:
        """Check the complete file and give it its name. Raises ModelInvalid."""
        if info.bytes is not None and part.size != info.bytes:
            raise ModelInvalid(f"{part.size} bytes came instead of {info.bytes}")
        digest = part.sha256()
        if info.sha256 is not None and digest != info.sha256:
            raise ModelInvalid("its SHA-256 is not the published one")
        read_header(part.path)
        target = self.store.folder / info.filename
        part.commit(target)
        self.store.remember(target, digest, file_key(target))
        return True

    def _publish(self, info: ModelInfo) -> None:
        if self._mirror is None:
            return
        try:
            with (self.store.folder / info.filename).open("rb") as file:
                self._mirror.publish(info, file)
        except (ServiceError, OSError) as error:  # the copy is a convenience for others; this consumer has its model
            log.warning("Model %s could not be copied to the object store: %s", info.name, error)

    def _unavailable(self, info: ModelInfo, reasons: Sequence[str]) -> ModelUnavailable:
        target = self.store.folder / info.filename
        return ModelUnavailable(
            f"The model {info.name} is not here and could not be fetched. Tried: {'; '.join(reasons)}. "
            f"Put the file by hand as {target}, or name an address that serves {info.filename} in MODEL_BASE_URL.",
            model=info.name,
        )


class _WholeCopy:
    """Writes a file from its beginning, as the object store has no ranges. What lay in the part goes only when bytes come."""

    def __init__(self, part: PartFile) -> None:
        self._part = part
        self._begun = False

    def begin(self) -> None:
        if not self._begun:
            self._part.restart()
            self._begun = True

    def write(self, data: bytes) -> int:
        self.begin()
        return self._part.write(data)
