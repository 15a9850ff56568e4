"""What an owner's view of the store can do: another's job is to it like one that does not exist."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from core.jobs.batches import Batch, NewBatch, Tally
from core.jobs.job import Job, JobStatus, NewJob
from core.jobs.uploads import NewUpload, PartialUpload, UploadLease
from core.jobs.voices import Voice
from core.transcript.search.document import Document
from core.transcript.search.query import Query


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """Work that is there and not done.

    jobs: that wait; oldest_seconds: since the oldest of them was made, 0 without any
    audio_seconds: of jobs that wait; running_audio_seconds: what is left of those in work. As long as nobody knows how long
        a file is, that is guessed from its bytes
    """

    jobs: int
    oldest_seconds: float
    audio_seconds: float
    running_audio_seconds: float


@dataclass(frozen=True, kw_only=True)
class Done:
    """Of the newest completed jobs, at most 200: how many, how long they were worked on in all, and how much audio that was."""

    jobs: int
    seconds: float
    audio_seconds: float


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """An Idempotency-Key that `OwnerJobs.reserve` has given us, and the fingerprint of the request."""

    key: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What an owner has of the service. audio_seconds: of its jobs of the last day, as far as they are known
    waiting: queued jobs; freed_in: seconds until the first of the audio is a day old, 0 without any
    """

    waiting: int
    audio_seconds: float
    freed_in: float


@dataclass(frozen=True, kw_only=True)
class Totals:
    """How many jobs somebody sees, by status, and how long they took from their start to their end.

    mean_seconds: of the newest that have completed; None without any
    """

    by_status: Mapping[JobStatus, int]
    mean_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One edit of a transcript. number: from 1; kind: what was edited, `transcript` or `speakers`
    key: the object that holds all of it; sha256: of that; created_at: None until it is stored
    """

    number: int
    kind: str
    key: str
    sha256: str
    created_at: datetime | None = None


class OwnerJobs(Protocol):
    """The jobs of one owner, and its Idempotency-Keys. Another owner's job is to it like one that does not exist."""

    def create(self, new: NewJob, *, reservation: Reservation | None = None) -> Job:
        """Insert job and outbox row in one transaction, and bind the reserved Idempotency-Key in it.

        A retry belongs to the owner of the job that it retries, any other job to this one. Calling it again after a lost
        answer (DatabaseUnavailable) is safe: the job of that id is returned. Raises, and stores nothing:
        IdempotencyInFlight when another job has got the key meanwhile; ValidationFailed when a known speaker is a voice that the
        owner has not kept; JobNotFound or Expired when the job that it retries is deleted, or its upload past retention, at
        this very moment.
        """
        ...

    def get(self, job_id: str) -> Job:
        """Raises JobNotFound (also for jobs whose deletion has begun)."""
        ...

    def list(
        self, *, status: JobStatus | None = None, limit: int = 50, after: str | None = None, query: Query | None = None
    ) -> tuple[Sequence[Job], str | None]:
        """Newest first. `after` is the cursor of the page before; returns (jobs, next cursor or None).

        query: only jobs with this in their name or text; a page may then be short, or empty, and others follow all the same
        Raises ValidationFailed for a cursor that is none.
        """
        ...

    def search(
        self, query: Query, *, limit: int = 20, after: str | None = None
    ) -> tuple[Sequence[tuple[Job, Document]], str | None]:
        """As `list` with a query, and with what shows where it was found."""
        ...

    def request_cancel(self, job_id: str) -> Job:
        """queued -> cancelled at once; processing -> cancelling; cancelling stays. Raises AlreadyTerminal, JobNotFound."""
        ...

    def request_delete(self, job_id: str) -> None:
        """Hide the job from now on and cancel it; the sweeper removes objects and rows. Raises JobNotFound."""
        ...

    def revise(self, job_id: str, new: Revision) -> Revision:
        """Store the edit that follows the newest one; it is the newest now. What is there already, and is the same, is given.

        Raises JobNotFound, Expired; RevisionConflict when another edit has come first.
        """
        ...

    def revision(self, job_id: str, number: int) -> Revision:
        """One edit, from 1. Raises JobNotFound, RevisionNotFound."""
        ...

    def usage(self) -> Usage:
        """Of the owner alone, also for one who sees everybody's jobs. What a retry takes over is not counted again."""
        ...

    def totals(self) -> Totals:
        """Of all jobs that it sees."""
        ...

    def backlog(self) -> Backlog: ...

    def done_lately(self) -> Done: ...

    def reserve(self, key: str, *, lease_seconds: float) -> str | None:
        """None = reserved now by us; a job id = already used by that job (compare `fingerprint`). Raises IdempotencyInFlight."""
        ...

    def renew(self, key: str, *, lease_seconds: float) -> None:
        """The request that reserved the key is still coming in. Of a key without a reservation, nothing comes."""
        ...

    def fingerprint(self, key: str) -> str | None:
        """That of the request whose job has the key."""
        ...

    def free(self, key: str) -> None:
        """Give up a reservation that led to no job; one that did stays."""
        ...


class OwnerVoices(Protocol):
    """The voices that one owner has kept. Nobody sees another's."""

    def keep(self, name: str, *, job_id: str, number: int) -> Voice:
        """Keep what one voice of a finished job of the owner's sounds like. number: as its search for speakers counts them

        Raises VoiceExists, NotInResult when that is not known, ValidationFailed when there are too many (`core.jobs.voices.MOST`).
        """
        ...

    def list(self) -> Sequence[Voice]:
        """By name."""
        ...

    def named(self, names: Collection[str]) -> dict[str, Voice]:
        """Those of these that there are, by name."""
        ...

    def remove(self, name: str) -> None:
        """Raises VoiceNotFound."""
        ...


class OwnerUploads(Protocol):
    """The uploads in parts of one owner. Another's is to it like one that does not exist."""

    def begin_upload(self, new: NewUpload, *, most: int) -> PartialUpload:
        """Raises QuotaExceeded when the owner has so many already that are not complete."""
        ...

    def upload(self, upload_id: str) -> PartialUpload:
        """Raises UploadNotFound, Expired."""
        ...

    def parts(self, upload_id: str) -> list[str]:
        """Keys of the objects with its bytes, in order."""
        ...

    def take_upload(self, upload_id: str, *, offset: int, lease_seconds: float) -> UploadLease:
        """The right to add bytes from that one on. Raises UploadNotFound, Expired, UploadLocked, OffsetConflict."""
        ...

    def renew_upload(self, lease: UploadLease, *, lease_seconds: float) -> None:
        """The request that adds to it is still coming in."""
        ...

    def append(
        self, lease: UploadLease, key: str, size: int, *, media_type: str | None, job: NewJob | None = None
    ) -> UploadLease:
        """So many bytes more are stored, under that key. media_type: as far as it is known by now

        job: made in the same transaction, of the last bytes. Raises UploadNotFound, UploadLocked when another has it now,
        BatchNotFound and BatchClosed of the job's batch: then nothing is stored.
        """
        ...

    def leave_upload(self, lease: UploadLease) -> None:
        """Others may add to it again."""
        ...

    def drop_upload(self, upload_id: str) -> None:
        """Forget it; its objects are the caller's to remove. Raises UploadNotFound, AlreadyTerminal when it is a job by now."""
        ...


class OwnerBatches(Protocol):
    """The batches of one owner. Another owner's batch is to it like one that does not exist.

    A job joins one by `NewJob.batch`, as long as it is open. In the transaction that ends the last job of a closed batch, or
    closes one whose jobs have ended, it is completed, once; a retry of one of its jobs takes that one's place, and opens the
    question anew.
    """

    def create(self, new: NewBatch, *, jobs: Sequence[NewJob] = (), reservation: Reservation | None = None) -> Batch:
        """An open batch; with `jobs`, which belong to it then, a closed one: all of it or nothing.

        Calling it again after a lost answer is safe. Raises IdempotencyInFlight, as `OwnerJobs.create`.
        """
        ...

    def get(self, batch_id: str) -> Batch:
        """Raises BatchNotFound."""
        ...

    def tally(self, batch_id: str) -> tuple[Batch, Tally]:
        """The batch and what its jobs come to: one look, through an index. Raises BatchNotFound."""
        ...

    def list(self, *, limit: int = 50, after: str | None = None) -> tuple[Sequence[Batch], str | None]:
        """Newest first, as `OwnerJobs.list`."""
        ...

    def items(
        self, batch_id: str, *, status: JobStatus | None = None, limit: int = 50, after: str | None = None
    ) -> tuple[Sequence[Job], str | None]:
        """Its jobs, oldest first, without those that were retried: as `OwnerJobs.list`. Raises BatchNotFound too."""
        ...

    def close(self, batch_id: str) -> Batch:
        """No more files. A closed one stays as it is. Raises BatchNotFound."""
        ...

    def cancel(self, batch_id: str) -> Batch:
        """Close it, and cancel what has not ended. Raises BatchNotFound, AlreadyTerminal when there is nothing of that kind."""
        ...

    def retry(self, batch_id: str, *, limit: int) -> Sequence[str]:
        """Make new jobs of those that failed and whose upload is still there, at most so many; ids of the new ones.

        None is made twice, however many ask. Raises BatchNotFound.
        """
        ...

    def delete(self, batch_id: str) -> None:
        """Hide it and its jobs from now on, and cancel them; the sweeper removes them. Raises BatchNotFound."""
        ...
