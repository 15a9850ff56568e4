"""The one error tree.

    ServiceError
    |-- RequestError            the caller can do something about it
    |   |-- Unauthorized, Forbidden
    |   |-- Unsupported, ValidationFailed, EmptyUpload, NotMedia, TooLarge, UploadTooSlow, UnknownModel, TaskNotSupported
    |   |-- UrlRefused, UrlUnreachable
    |   |-- JobNotFound, NotReady, NotInResult, AlreadyTerminal, Expired, InvalidRange, KeyNotFound, WebhookNotFound, DeliveryNotFound
    |   |-- UploadNotFound, UploadLocked, OffsetConflict, UploadProtocol, BatchNotFound, BatchClosed
    |   |-- RevisionNotFound, RevisionConflict, PreconditionRequired
    |   |-- RateLimited, QuotaExceeded, QueueFull, SyncTimeout, IdempotencyConflict, IdempotencyInFlight
    |   `-- InsufficientStorage
    |-- JobError                ends a job (or one chunk) as failed
    |   |-- NoAudioStream, AudioTrackMissing, AudioEmpty, AudioUndecodable, AudioTooLong, AudioEncrypted
    |   |-- SourceMissing, SourceCorrupt, ObjectMissing
    |   |-- ModelUnavailable, ModelInvalid
    |   |-- ChunkFailed, ChunkTimeout, WorkerCrashed
    |-- TransientError          infrastructure; back off, no attempt is used up
    |   |-- StorageUnavailable, DatabaseUnavailable, EngineUnavailable, DiskFull, DecoderKilled
    `-- Interrupted             not a failure: the run stops on purpose
        |-- Cancelled           the user asked for it
        |-- LeaseLost           another owner holds the job now
        `-- HandedBack          clean shutdown

The first line of a class docstring is its default message. `code` is stable: clients and
operators match on it (docs/reference/errors.md). HTTP statuses live in `api.http.problems` alone.
"""

from __future__ import annotations

from typing import Any, ClassVar


class ServiceError(Exception):
    """Something went wrong inside the service."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None, **details: Any) -> None:
        self.message = message or (type(self).__doc__ or self.code).splitlines()[0]
        self.details = details
        super().__init__(self.message)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.details))


def _rebuild(kind: type[ServiceError], message: str, details: dict[str, Any]) -> ServiceError:
    return kind(message, **details)


class RequestError(ServiceError):
    """The request cannot be served as it stands."""

    code = "validation"


class Unauthorized(RequestError):
    """This needs a key that is known here."""

    code = "unauthorized"


class Forbidden(RequestError):
    """The key is known, but this is not for it."""

    code = "forbidden"


class ValidationFailed(RequestError):
    """A parameter has a value that cannot be used."""

    code = "validation"


class Unsupported(RequestError):
    """This service cannot do that."""

    code = "unsupported"


def refusal(*errors: dict[str, str]) -> ValidationFailed:
    """A ValidationFailed that names fields: each with its `field` and a `message`."""
    return ValidationFailed("; ".join(f"{e['field']}: {e['message']}" for e in errors), errors=list(errors))


class EmptyUpload(RequestError):
    """The uploaded file has no bytes."""

    code = "empty_upload"


class NotMedia(RequestError):
    """The uploaded file does not begin like any audio or video format that can be read."""

    code = "not_media"


class TooLarge(RequestError):
    """The upload is larger than this service accepts."""

    code = "too_large"


class UploadTooSlow(RequestError):
    """The upload came in slower than this service waits for."""

    code = "upload_too_slow"
    retryable = True


class UnknownModel(RequestError):
    """There is no model of that name."""

    code = "unknown_model"


class TaskNotSupported(RequestError):
    """The model cannot do that task."""

    code = "task_not_supported"


class UrlRefused(RequestError):
    """This service connects to no such address."""

    code = "url_refused"


class UrlUnreachable(RequestError):
    """The address did not answer, or not as it should."""

    code = "url_unreachable"
    retryable = True


class UploadNotFound(RequestError):
    """There is no upload with that id."""

    code = "upload_not_found"


class UploadLocked(RequestError):
    """Another request is adding to this upload at the moment."""

    code = "upload_locked"
    retryable = True


class OffsetConflict(RequestError):
    """The upload has not so many bytes, or more: ask for its offset and go on from there."""

    code = "offset_conflict"


class UploadProtocol(RequestError):
    """This service speaks version 1.0.0 of the tus protocol: the request has to say so (`Tus-Resumable: 1.0.0`)."""

    code = "upload_protocol"


class JobNotFound(RequestError):
    """There is no job with that id."""

    code = "job_not_found"


class NotReady(RequestError):
    """The job has no result yet."""

    code = "not_ready"


class NotInResult(RequestError):
    """The transcript does not have what was asked for."""

    code = "not_in_result"


class AlreadyTerminal(RequestError):
    """The job has already ended."""

    code = "already_terminal"


class Expired(RequestError):
    """The retention time is over and the data has been removed."""

    code = "expired"


class BatchNotFound(RequestError):
    """There is no batch with that id."""

    code = "batch_not_found"


class BatchClosed(RequestError):
    """The batch takes no more files: it has been closed."""

    code = "batch_closed"


class RevisionNotFound(RequestError):
    """The transcript has no such revision."""

    code = "revision_not_found"


class RevisionConflict(RequestError):
    """The transcript has been edited meanwhile: fetch the newest revision and edit that."""

    code = "revision_conflict"


class PreconditionRequired(RequestError):
    """Say with If-Match which revision was edited: its ETag."""

    code = "precondition_required"


class KeyNotFound(RequestError):
    """There is no key with that id."""

    code = "key_not_found"


class WebhookNotFound(RequestError):
    """There is no webhook with that id."""

    code = "webhook_not_found"


class DeliveryNotFound(RequestError):
    """There is no delivery with that id."""

    code = "delivery_not_found"


class RateLimited(RequestError):
    """This key has sent as many requests as it may in a minute; try again later."""

    code = "rate_limited"
    retryable = True


class QuotaExceeded(RequestError):
    """This key has used what it may; try again later."""

    code = "quota_exceeded"
    retryable = True


class InvalidRange(RequestError):
    """The file has no such part."""

    code = "invalid_range"


class QueueFull(RequestError):
    """As many jobs wait as this service allows; try again later."""

    code = "queue_full"
    retryable = True


class SyncTimeout(RequestError):
    """The job did not end while the request waited for it (SYNC_WAIT_SECONDS)."""

    code = "sync_timeout"


class IdempotencyConflict(RequestError):
    """That Idempotency-Key was used with another file or other parameters."""

    code = "idempotency_conflict"


class IdempotencyInFlight(RequestError):
    """A request with that Idempotency-Key is still being received."""

    code = "idempotency_in_flight"
    retryable = True


class InsufficientStorage(RequestError):
    """Too little disk space is left to accept an upload."""

    code = "insufficient_storage"
    retryable = True


class JobError(ServiceError):
    """The job cannot be completed."""


class NoAudioStream(JobError):
    """The file has no audio stream."""

    code = "no_audio_stream"


class AudioTrackMissing(JobError):
    """The file has no sound track like the one asked for (`audio_track`)."""

    code = "audio_track_missing"


class AudioEmpty(JobError):
    """The file's audio stream has no samples."""

    code = "audio_empty"


class AudioUndecodable(JobError):
    """The file's audio cannot be decoded."""

    code = "audio_undecodable"


class AudioTooLong(JobError):
    """The audio is longer than MAX_AUDIO_HOURS."""

    code = "audio_too_long"


class AudioEncrypted(JobError):
    """The file's audio is encrypted."""

    code = "audio_encrypted"


class SourceMissing(JobError):
    """The uploaded file is no longer in the object store."""

    code = "source_missing"


class SourceCorrupt(JobError):
    """The uploaded file has changed in the object store: its SHA-256 is not that of the upload."""

    code = "source_corrupt"


class ObjectMissing(JobError):
    """There is no such object in the bucket INGEST_BUCKET, or this service may not read it."""

    code = "object_missing"


class ModelUnavailable(JobError):
    """The model's file is not here and could not be fetched."""

    code = "model_unavailable"
    retryable = True


class ModelInvalid(JobError):
    """The model's file is not what its name promises."""

    code = "model_invalid"


class ChunkFailed(JobError):
    """A chunk could not be transcribed."""

    code = "chunk_failed"
    retryable = True


class ChunkTimeout(ChunkFailed):
    """A chunk took longer than its deadline (CHUNK_TIMEOUT)."""

    code = "chunk_timeout"


class WorkerCrashed(JobError):
    """The job's process died again and again without getting further."""

    code = "worker_crashed"
    retryable = True


class TransientError(ServiceError):
    """A part of the service cannot be reached at the moment."""

    retryable = True


class StorageUnavailable(TransientError):
    """The object store cannot be reached."""

    code = "storage_unavailable"


class DatabaseUnavailable(TransientError):
    """The database cannot be reached."""

    code = "internal"


class EngineUnavailable(TransientError):
    """The transcription engine is not running."""

    code = "engine_unavailable"


class DiskFull(TransientError):
    """There is no space left on the disk."""

    code = "disk_full"


class DecoderKilled(TransientError):
    """The decoder was killed before it was done."""

    code = AudioUndecodable.code  # what a job ends with if it happens again


class Interrupted(ServiceError):
    """The run stops on purpose."""


class Cancelled(Interrupted):
    """The job was cancelled."""

    code = "cancelled"


class LeaseLost(Interrupted):
    """Another owner holds the job now."""

    code = "lease_lost"


class HandedBack(Interrupted):
    """The job was handed back for another consumer."""

    code = "handed_back"
