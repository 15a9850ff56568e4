"""What the service asks of its job table, by role.

All methods are synchronous and safe to call from many threads. All raise DatabaseUnavailable when
the database cannot be reached. Lease times are compared on the database's clock (PostgreSQL) or on
boot id + CLOCK_BOOTTIME (SQLite): a changed wall clock changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from core.jobs.consumers import ConsumerInfo
from core.jobs.job import Claim, Job, JobFailure, Source
from core.jobs.tasks import Lease, Task
from core.jobs.turns import AGE_SECONDS, Only
from core.keys import Key, KeyState, Session
from core.live.sessions import StoredUtterance
from core.store.news import News
from core.store.owners import OwnerBatches, OwnerJobs, OwnerUploads, OwnerVoices
from core.transcript.search.document import Document


@dataclass(frozen=True, kw_only=True)
class ConsumerRow:
    """One consumer at work. silent_seconds: since its last sign of life, on the lease clock."""

    name: str
    started_at: datetime
    silent_seconds: float
    info: ConsumerInfo


@dataclass(frozen=True, kw_only=True)
class StoredSizes:
    """What an installation keeps. Bytes of results are not known to the database."""

    #: files of jobs, those that a retry shares counted once
    sources: int
    source_bytes: int
    #: parts of uploads that are no job yet
    uploads: int
    upload_bytes: int
    #: audio of live streams that have not ended
    streams: int
    stream_bytes: int
    results: int
    #: None in memory
    database_bytes: int | None


class JobStore(Protocol):
    """What the API is made over: who asks for a job does so through `of`, or says who asks (`versions`)."""

    def of(self, owner: str | None, *, all_jobs: bool = False) -> OwnerJobs:
        """The jobs of this owner; cheap. owner: None = those that are made where nobody needs a key.

        all_jobs: sees everybody's too; what it makes is the owner's all the same
        """
        ...

    def uploads_of(self, owner: str | None, *, all_jobs: bool = False) -> OwnerUploads:
        """The uploads in parts of this owner; cheap. all_jobs: what they become may belong to anybody's batch"""
        ...

    def batches_of(self, owner: str | None, *, all_jobs: bool = False) -> OwnerBatches:
        """The batches of this owner, as `of`."""
        ...

    def voices_of(self, owner: str | None) -> OwnerVoices:
        """The voices that this owner has kept; cheap."""
        ...

    def versions(self, job_ids: Collection[str]) -> dict[str, tuple[str | None, int]]:
        """Owner and `Job.version` of those that there are, whoever's they are; cheap, for who looks often."""
        ...

    def jobs_of(self, job_ids: Collection[str]) -> Sequence[Job]:
        """Those that there are, whoever's they are, in any order: one query."""
        ...

    def ended_chunks(self, job_id: str, *, first: int, limit: int) -> Sequence[Task]:
        """At most so many chunks of a job, whoever's it is, from this number on and in order, as far as all have ended."""
        ...

    def moving(
        self, owner: str | None, *, all_jobs: bool, ended_since: datetime, limit: int
    ) -> dict[str, tuple[str | None, int]]:
        """As `versions`: an owner's jobs (all_jobs: everybody's) that have not ended, or only since then; of each status the
        newest, at most so many."""
        ...

    def news(self) -> News:
        """Word of jobs that change, whoever's they are."""
        ...

    def waiting(self, *, at_most: int) -> int:
        """Number of queued jobs, of all owners; counting ends at that many."""
        ...

    def sizes(self) -> StoredSizes:
        """Of all owners together: goes through all jobs there are."""
        ...

    def counts(self) -> dict[str, int]:
        """Number of jobs by status, of all owners (for /metrics): goes through an index of all jobs there are."""
        ...


class Claims(Protocol):
    """What a consumer needs to own a job."""

    def claim(
        self,
        *,
        owner: str,
        consumer: str,
        lease_seconds: float,
        only: Only = Only.ANY,
        max_attempts: int = 3,
        age_seconds: float = AGE_SECONDS,
    ) -> Claim | None:
        """Take the waiting job whose turn it is (`core.jobs.turns.in_turn`) or None.

        Waiting is queued, or processing with an expired lease, and not held back by `not_before`.
        Raises fence and attempts; a claim of an expired lease adds a strike. A cancelling job with
        an expired lease is ended as cancelled here. max_attempts: as in `Upkeep.sweep`, which is part of
        each claim, since a job that kills its owners would otherwise be taken before a sweep sees it.
        age_seconds: after so long a waiting job grows into the next class (PRIORITY_AGE_SECONDS).
        """
        ...

    def heartbeat(self, claim: Claim, lease_seconds: float) -> None:
        """Renew. Raises LeaseLost when another owner has the job."""
        ...

    def release(self, claim: Claim, *, delay: float = 0.0, count_attempt: bool = False) -> None:
        """Hand the job back to queued (clean shutdown, infrastructure trouble); at most one outbox hint is added."""
        ...

    def free_owner(self, owner: str) -> list[str]:
        """Expire the leases of a dead process at once (its parent calls this); returns the job ids."""
        ...

    def progress(self, claim: Claim, **fields: Any) -> None:
        """Write fields of Job learnt during the run (stage, duration, speech_seconds, language, language_confidence,
        plan_hash, chunks_total, eta_seconds, warnings ...). Raises LeaseLost."""
        ...

    def brought(self, claim: Claim, source: Source) -> None:
        """The job's file is in the object store from now on; where it came from is forgotten. Raises LeaseLost."""
        ...

    def finish(
        self,
        claim: Claim,
        *,
        result_key: str,
        partial: bool,
        gaps: Sequence[dict[str, Any]],
        warnings: Sequence[dict[str, str]],
        performance: dict[str, Any],
    ) -> None:
        """-> completed, in one transaction; or cancelled if a cancel came first (raises Cancelled). Raises LeaseLost."""
        ...

    def fail(self, claim: Claim, failure: JobFailure) -> None:
        """-> failed (or cancelled if a cancel came first). Raises LeaseLost."""
        ...

    def cancelled(self, claim: Claim) -> None:
        """cancelling -> cancelled: the owner has let go. Raises LeaseLost."""
        ...

    def urgent(self) -> str | None:
        """Id of an interactive job that waits: one short query, polled."""
        ...

    def held(self, consumer: str) -> list[tuple[str, str, bool]]:
        """(job id, lease owner, cancel or delete requested) of this consumer's jobs: one query, polled."""
        ...


class TaskStore(Protocol):
    """The parts of a job's work and what came of them. A stale lease or claim raises LeaseLost and writes nothing."""

    def plan(self, claim: Claim, tasks: Sequence[Task]) -> None:
        """Append tasks of one stage (numbers continue the stored plan; one that exists is left as it is), all of them or none.

        Those that are done elsewhere are stored with what they gave."""
        ...

    def tasks(self, job_id: str, stage: str | None = None, numbers: Collection[int] | None = None) -> list[Task]:
        """All tasks, or those of one stage, or of these numbers, in order."""
        ...

    def take(self, claim: Claim, part: Task) -> Lease | None:
        """Begin a task as the job's owner: the lease lasts as long as the job's. None: ended, or somebody else works on it.
        Of one that is not stored yet, a row is made."""
        ...

    def help_with(self, job_id: str, part: Task, *, owner: str, lease_seconds: float) -> Lease | None:
        """Begin a task of a job that another holds. A lease that runs out is a crash of the task, not of the job."""
        ...

    def renew_lease(self, lease: Lease, lease_seconds: float) -> None:
        """A helper's sign of life."""
        ...

    def commit(self, lease: Lease, part: Task) -> bool:
        """Store a done or failed task. Returns False when it was ended before."""
        ...

    def adopt(self, claim: Claim, from_job: str, identities: Mapping[str, str]) -> int:
        """Copy another job's tasks of the named stages where the identity is the same (retry); returns how many chunks are
        done."""
        ...

    def finals_of(self, job_id: str) -> list[StoredUtterance]:
        """What was final in the stream that has become this very job, in order; none where it is to be heard anew (`refine`)."""
        ...


class Outbox(Protocol):
    """Hints to be sent to consumers."""

    def unsent(self, limit: int) -> list[tuple[int, str]]:
        """(outbox id, job id) due for sending, oldest first."""
        ...

    def sent(self, outbox_ids: Sequence[int]) -> None: ...

    def free_slots(self) -> int:
        """Job slots of all consumers that are heard of, less the jobs in work that may be in one: so many hints can be of use.
        The slot for one interactive job more is not among them."""
        ...

    def rehint(self, *, older_than: float, limit: int) -> int:
        """Add outbox rows, with growing back-off per job, for waiting jobs whose last hint is old. Returns how many."""
        ...


class Retention(Protocol):
    """What is to be removed, and what is not."""

    def removable(self, *, limit: int) -> list[Job]:
        """Jobs whose deletion is requested and whose lease is free: objects first, then `remove`."""
        ...

    def remove(self, job_id: str) -> None:
        """Delete the rows for good."""
        ...

    def expire(self, *, audio_hours: float, result_hours: float, limit: int) -> list[Job]:
        """Mark terminal jobs past retention; returns them so that the caller removes their objects. 0 = never.

        With the result goes the text in its tasks.
        """
        ...

    def known_keys(self, keys: Sequence[str], *, besides: str | None = None) -> set[str]:
        """Which of these object keys are not to be cleared away: a row refers to them and has not expired, or they lie in
        the folder of a job that has not ended (`core.objects.store.job_of`). The job `besides` does not count."""
        ...


class Uploads(Protocol):
    """Uploads in parts, whoever's they are."""

    def upload_parts(self, upload_id: str) -> list[str]:
        """Keys of the objects with its bytes, in order; none of an upload that does not exist."""
        ...

    def removable_uploads(self, *, limit: int) -> list[str]:
        """Those past their time, and those whose job has its file or is gone: objects first, then `remove_upload`."""
        ...

    def remove_upload(self, upload_id: str) -> None:
        """Delete the rows for good."""
        ...

    def known_uploads(self, upload_ids: Collection[str]) -> set[str]:
        """Which of these there are."""
        ...


class Streams(Protocol):
    """Live streams, whoever's they are: those that nobody serves any more, and those that have become jobs."""

    def end_left_sessions(self, *, at_most: int = 100) -> list[str]:
        """As `core.live.sessions.LiveSessions`."""
        ...

    def removable_sessions(self, *, limit: int) -> list[str]:
        """Ended ones without a job, or whose job has its file and has chunks, those that were final among them (or has ended, or is gone):
        objects first, then `remove_session`."""
        ...

    def remove_session(self, session_id: str) -> None:
        """Delete the rows for good."""
        ...

    def known_sessions(self, session_ids: Collection[str]) -> set[str]:
        """Which of these there are."""
        ...


class Upkeep(Protocol):
    """What some process has to do from time to time, whichever."""

    def sweep(self, *, max_attempts: int) -> dict[str, int]:
        """End what nobody else will: cancelling with an expired lease -> cancelled; expired for the max_attempts-th
        time in a row without a finished chunk -> failed/worker_crashed. Returns {"cancelled": n, "failed": n}.

        Also forgets reservations of Idempotency-Keys that ran out long ago without a job."""
        ...

    def unindexed(self, *, limit: int) -> Sequence[tuple[Job, str | None]]:
        """Jobs whose text is to be written into the search index, the newest first, each with the key of the object that has it.

        None: it has no text (any more).
        """
        ...

    def index(self, one: Job, document: Document | None) -> bool:
        """Write what it is found by. False, and nothing is written: it has been edited, deleted or has expired since it was read."""
        ...

    def index_anew(self) -> int:
        """From now on all jobs are among `unindexed`; until they are written, what there is stays. Returns how many."""
        ...

    def take_turn(self, task: str, *, every: float) -> bool:
        """Whether this process is to do it now: of all that ask within `every` seconds, the first."""
        ...

    def installation(self) -> str:
        """Id of this database, made when first asked for: an object store that knows another one is not ours to clear."""
        ...


class Consumers(Protocol):
    """Who is at work."""

    def consumers(self) -> list[ConsumerRow]:
        """All that have been heard of within a day, by name."""
        ...


class Keys(Protocol):
    """Who may come in."""

    def add_key(self, key: Key) -> Key:
        """Keep a new key, `created_at` filled in. Raises ValueError when there is one of that id."""
        ...

    def keys(self) -> list[Key]:
        """All there ever were, oldest first."""
        ...

    def has_keys(self) -> bool:
        """Whether there ever was one: from then on nobody comes in without."""
        ...

    def revoke(self, key_id: str, *, leave_admin: bool = False) -> Key:
        """The key, which opens nothing from now on, nor do its sessions. Raises KeyNotFound.

        leave_admin: raises NoAdminLeft where it is the last good one with the scope `admin`
        """
        ...

    def key_state(self, known: str | None) -> KeyState | None:
        """Keys and sessions; None when nothing has changed since the version `known`. Then it is one short query."""
        ...

    def used(self, key_ids: Collection[str]) -> None:
        """These keys were used now. No change of the state."""
        ...

    def open_session(self, session: Session) -> None:
        """Let a browser in; forgets sessions that are over."""
        ...

    def close_session(self, digest: str) -> None:
        """Log out. One that is not there is closed already."""
        ...
