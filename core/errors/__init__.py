"""The one error tree.

    ServiceError
    |-- RequestError            the caller can do something about it
    |   |-- Unauthorized, Forbidden
    |   |-- Unsupported, NotAvailable, ValidationFailed, EmptyUpload, NotMedia, TooLarge, UploadTooSlow, UnknownModel, TaskNotSupported
    |   |-- UrlRefused, UrlUnreachable
    |   |-- JobNotFound, NotReady, NotInResult, AlreadyTerminal, Expired, InvalidRange, KeyNotFound, WebhookNotFound, DeliveryNotFound
    |   |-- UploadNotFound, UploadLocked, OffsetConflict, UploadProtocol, BatchNotFound, BatchClosed
    |   |-- VoiceNotFound, VoiceExists, KeyInSettings, NoAdminLeft
    |   |-- RevisionNotFound, RevisionConflict, PreconditionRequired
    |   |-- RateLimited, QuotaExceeded, QueueFull, SyncTimeout, IdempotencyConflict, IdempotencyInFlight
    |   |-- LiveFull, LiveUnavailable, LiveSessionNotFound, LiveSessionEnded, LiveProtocol, LiveBehind, LiveClientSlow, LiveIdle
    |   `-- InsufficientStorage
    |-- JobError                ends a job (or one chunk) as failed
    |   |-- NoAudioStream, AudioTrackMissing, AudioEmpty, AudioUndecodable, AudioTooLong, AudioEncrypted
    |   |-- SourceMissing, SourceCorrupt, ObjectMissing
    |   |-- ModelUnavailable, ModelInvalid
    |   |-- ChunkFailed, ChunkTimeout, TranslationFailed, WorkerCrashed
    |-- TransientError          infrastructure; back off, no attempt is used up
    |   |-- StorageUnavailable, DatabaseUnavailable, EngineUnavailable, DiskFull, DecoderKilled
    `-- Interrupted             not a failure: the run stops on purpose
        |-- Cancelled           the user asked for it
        |-- LeaseLost           another owner holds the job now
        `-- HandedBack          clean shutdown

The first line of a class docstring is its default message. `code` is stable: clients and
operators match on it (docs/reference/errors.md). HTTP statuses live in `api.http.problems` alone.
"""

from core.errors.base import Interrupted, JobError, RequestError, ServiceError, TransientError
from core.errors.jobs import (
    AudioEmpty,
    AudioEncrypted,
    AudioTooLong,
    AudioTrackMissing,
    AudioUndecodable,
    Cancelled,
    ChunkFailed,
    ChunkTimeout,
    DatabaseUnavailable,
    DecoderKilled,
    DiskFull,
    EngineUnavailable,
    HandedBack,
    LeaseLost,
    ModelInvalid,
    ModelUnavailable,
    NoAudioStream,
    ObjectMissing,
    SourceCorrupt,
    SourceMissing,
    StorageUnavailable,
    TranslationFailed,
    WorkerCrashed,
)
from core.errors.live import (
    LiveBehind,
    LiveClientSlow,
    LiveFull,
    LiveIdle,
    LiveProtocol,
    LiveSessionEnded,
    LiveSessionNotFound,
    LiveUnavailable,
)
from core.errors.requests import (
    AlreadyTerminal,
    BatchClosed,
    BatchNotFound,
    DeliveryNotFound,
    EmptyUpload,
    Expired,
    Forbidden,
    IdempotencyConflict,
    IdempotencyInFlight,
    InsufficientStorage,
    InvalidRange,
    JobNotFound,
    KeyInSettings,
    KeyNotFound,
    NoAdminLeft,
    NotAvailable,
    NotInResult,
    NotMedia,
    NotReady,
    OffsetConflict,
    PreconditionRequired,
    QueueFull,
    QuotaExceeded,
    RateLimited,
    RevisionConflict,
    RevisionNotFound,
    SyncTimeout,
    TaskNotSupported,
    TooLarge,
    Unauthorized,
    UnknownModel,
    Unsupported,
    UploadLocked,
    UploadNotFound,
    UploadProtocol,
    UploadTooSlow,
    UrlRefused,
    UrlUnreachable,
    ValidationFailed,
    VoiceExists,
    VoiceNotFound,
    WebhookNotFound,
    refusal,
)

__all__ = [
    "AlreadyTerminal",
    "AudioEmpty",
    "AudioEncrypted",
    "AudioTooLong",
    "AudioTrackMissing",
    "AudioUndecodable",
    "BatchClosed",
    "BatchNotFound",
    "Cancelled",
    "ChunkFailed",
    "ChunkTimeout",
    "DatabaseUnavailable",
    "DecoderKilled",
    "DeliveryNotFound",
    "DiskFull",
    "EmptyUpload",
    "EngineUnavailable",
    "Expired",
    "Forbidden",
    "HandedBack",
    "IdempotencyConflict",
    "IdempotencyInFlight",
    "InsufficientStorage",
    "Interrupted",
    "InvalidRange",
    "JobError",
    "JobNotFound",
    "KeyInSettings",
    "KeyNotFound",
    "LeaseLost",
    "LiveBehind",
    "LiveClientSlow",
    "LiveFull",
    "LiveIdle",
    "LiveProtocol",
    "LiveSessionEnded",
    "LiveSessionNotFound",
    "LiveUnavailable",
    "ModelInvalid",
    "ModelUnavailable",
    "NoAdminLeft",
    "NoAudioStream",
    "NotAvailable",
    "NotInResult",
    "NotMedia",
    "NotReady",
    "ObjectMissing",
    "OffsetConflict",
    "PreconditionRequired",
    "QueueFull",
    "QuotaExceeded",
    "RateLimited",
    "RequestError",
    "RevisionConflict",
    "RevisionNotFound",
    "ServiceError",
    "SourceCorrupt",
    "SourceMissing",
    "StorageUnavailable",
    "SyncTimeout",
    "TaskNotSupported",
    "TooLarge",
    "TransientError",
    "TranslationFailed",
    "Unauthorized",
    "UnknownModel",
    "Unsupported",
    "UploadLocked",
    "UploadNotFound",
    "UploadProtocol",
    "UploadTooSlow",
    "UrlRefused",
    "UrlUnreachable",
    "ValidationFailed",
    "VoiceExists",
    "VoiceNotFound",
    "WebhookNotFound",
    "WorkerCrashed",
    "refusal",
]
