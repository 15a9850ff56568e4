"""Files taken in as jobs: object first, then the row. Routes, other protocols and `--local` all come through here."""

from __future__ import annotations

import copy
import io
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, BinaryIO, Self

from core.audio.sniff import HEAD_BYTES, Probe, sniff
from core.errors import (
    DatabaseUnavailable,
    EmptyUpload,
    InsufficientStorage,
    ModelInvalid,
    NotMedia,
    QueueFull,
    RequestError,
    ServiceError,
    TooLarge,
    Unsupported,
    refusal,
)
from core.jobs import known_speakers
from core.jobs.job import Job, NewJob, Source, new_id
from core.jobs.params import JobParams
from core.jobs.turns import class_of
from core.objects.store import ObjectStore, samples_key, source_key
from core.options import said
from core.store.owners import OwnerJobs, Reservation
from core.submission.checks import Models, Translations, check, fingerprint, identity_of, values_of, warnings_of
from core.submission.storing import store_file
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
    options: the table of what may be asked; defaults: this installation's own (JOB_DEFAULTS)
    check_url: raises UrlRefused for a `callback_url` that nothing is sent to; None: nobody is there to send anything
    enhancements: values of `enhance` that are to be had just now; None: that is not known
    translations: who translates; None: that is not known
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
        defaults: Mapping[str, Any] = MappingProxyType({}),
        check_url: Callable[[str], object] | None = None,
        enhancements: Callable[[], Collection[str] | None] = lambda: None,
        translations: Translations | None = None,
    ) -> None:
        self.options, self._defaults = options, defaults
        self._check_url, self._enhancements = check_url, enhancements
        self._translations = translations
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
    def check_room(self, waiting: Callable[[int], int], incoming: int = 0, *, more: int = 1) -> None:
        """Whether a file of so many bytes (or so many files) can be taken. Raises QueueFull, InsufficientStorage.

        waiting: number of queued jobs, counted up to the given one
        """
        limit = self._limits.max_queued
        if limit and waiting(limit) + more > limit:
            raise QueueFull(f"{limit} jobs are waiting already (MAX_QUEUED_JOBS); try again later.")
        self.check_disk(incoming)

    def check_disk(self, incoming: int = 0) -> None:
        """Raises InsufficientStorage when less than MIN_FREE_DISK_MB is left, or would be after so many more bytes."""
        if self._free_bytes is not None and self._free_bytes() - incoming < self._limits.min_free:
            raise InsufficientStorage

    @property
    def max_bytes(self) -> int | None:
        """Of one file; None: any number."""
        return self._limits.max_bytes

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

    def check(self, given: Mapping[str, Any], *, usual: bool = True) -> JobParams:
        """As `core.submission.checks.check`. Also raises UrlRefused, Unsupported (`callback_url`), DatabaseUnavailable.

        usual: whether this installation's defaults hold where nothing is given; a batch has them already
        """
        defaults = self._defaults if usual else {}
        params = check(
            self.options,
            given,
            self._models,
            default_model=self._default_model,
            defaults=defaults,
            enhancements=self._enhancements() if said(given).get("enhance") else None,
            translations=self._translations,
        )
        if params.callback_url is not None:
            if self._check_url is None:
                raise Unsupported("There is no service here that could send something to a callback_url.")
            self._check_url(params.callback_url)
        return params

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
        source = store_file(
            self._objects,
            source_key(job_id),
            filename,
            data,
            media_type=lambda head: self.media_type(head, filename),
            check_size=self.check_size,
        )
        return job_id, source

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
        priority: int | None = None,
        batch: str | None = None,
    ) -> Job:
        """Make the job of a stored file. key: the Idempotency-Key that is reserved for it

        priority: of an interface whose users cannot ask for one (`core.jobs.turns`); None: as the option says
        batch: id of an open one that it belongs to
        Raises what `check` and `OwnerJobs.create` do. The file of a job that is refused is removed; after any other error the
        row may be there all the same, and if it is not, the sweeper removes the file.
        """
        try:
            new = self.new_job(job_id, source, given, priority=priority, batch=batch)
            found = fingerprint(identity_of(source), new.params, batch)
            reservation = Reservation(key=key, fingerprint=found) if key else None
            try:
                job = jobs.create(new, reservation=reservation)
            except DatabaseUnavailable:
                # the connection may have been lost after the commit, and a large upload is worth asking again
                job = jobs.create(new, reservation=reservation)
        except (RequestError, ModelInvalid):  # refused, so no row refers to the objects
            self.discard(source.key)
            if given.get("known_speakers"):
                self.discard(samples_key(job_id))
            raise
        log.info("Accepted job %s: %s, model %s", job_id, _words(source), job.params.model)
        return job

    def new_job(
        self,
        job_id: str,
        source: Source,
        given: Mapping[str, Any],
        *,
        priority: int | None = None,
        batch: str | None = None,
    ) -> NewJob:
        """What `accept` makes; samples of known speakers are stored. Raises what `check` and storing do."""
        if priority is not None:
            given = {**given, "priority": class_of(priority)}
        params = self.check(given, usual=batch is None)
        warnings = warnings_of(params, given)
        caller = tracing.caller()
        samples = self._store_samples(job_id, params, given.get("known_speakers"))
        return NewJob(
            id=job_id, source=source, params=params, samples_key=samples, batch=batch, warnings=warnings, caller=caller
        )

    def _store_samples(self, job_id: str, params: JobParams, given: Any) -> str | None:
        """Key of the object that has them. Raises ValidationFailed for what is no recording."""
        if not known_speakers.asked_samples(params.known_speakers):
            return None
        samples = known_speakers.samples_in(given)
        for n, one in enumerate(params.known_speakers or ()):
            try:
                if "sample" in one:
                    self.media_type(samples[one["sample"]][:HEAD_BYTES], "sample")
            except NotMedia as error:
                message = f"entry {n}: the sample does not begin like any audio or video format that can be read"
                raise refusal({"field": "known_speakers", "message": message}) from error
        key = samples_key(job_id)
        self._objects.put(key, io.BytesIO(known_speakers.packed(samples)))
        return key

    def discard(self, key: str) -> None:
        """Remove the file of what was refused."""
        try:
            self._objects.delete(key)
        except ServiceError as error:
            log.warning("The object %s is left for the sweeper: %s", key, error.message)


def _words(source: Source) -> str:
    if source.origin is not None:
        return f"a file to be brought from its {source.origin.kind}"  # without its name: an address may hold a secret
    return f"{source.bytes} bytes of {source.media_type}"
