"""What ends a job or one of its chunks, what is away for a moment, and what stops a run on purpose."""

from __future__ import annotations

from core.errors.base import Interrupted, JobError, TransientError


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


class TranslationFailed(JobError):
    """A text could not be translated."""

    code = "translation_failed"
    retryable = True


class WorkerCrashed(JobError):
    """The job's process died again and again without getting further."""

    code = "worker_crashed"
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


class Cancelled(Interrupted):
    """The job was cancelled."""

    code = "cancelled"


class LeaseLost(Interrupted):
    """Another owner holds the job now."""

    code = "lease_lost"


class HandedBack(Interrupted):
    """The job was handed back for another consumer."""

    code = "handed_back"
