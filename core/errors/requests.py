"""What the caller of a request can do something about."""

from __future__ import annotations

from core.errors.base import RequestError


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


class NotAvailable(RequestError):
    """This could be done, but not by this installation as it is."""

    code = "not_available"


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


class VoiceNotFound(RequestError):
    """You have kept no voice of that name."""

    code = "voice_not_found"


class VoiceExists(RequestError):
    """You have kept a voice of that name already: delete it first."""

    code = "voice_exists"


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


class KeyInSettings(RequestError):
    """That key is in API_KEYS: it ends when it is taken out there."""

    code = "key_in_settings"


class NoAdminLeft(RequestError):
    """After that no key with the scope admin is left, and keys can be made only with `parascribe keys create` on the machine itself."""

    code = "no_admin_left"


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
