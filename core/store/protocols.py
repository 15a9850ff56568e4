"""What the service asks of its job table, by role.

All methods are synchronous and safe to call from many threads. All raise DatabaseUnavailable when
the database cannot be reached. Lease times are compared on the database's clock (PostgreSQL) or on
boot id + CLOCK_BOOTTIME (SQLite): a changed wall clock changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from core.jobs.job import ChunkRow, Claim, Job, JobFailure, JobStatus, NewJob


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """An Idempotency-Key that `Idempotency.reserve` has given us, and the fingerprint of the request."""

    key: str
    fingerprint: str
    owner: str = ""


@dataclass(frozen=True, kw_only=True)
class ConsumerRow:
    """One consumer at work. silent_seconds: since its last sign of life, on the lease clock."""

    name: str
    started_at: datetime
    silent_seconds: float
    info: dict[str, Any]


class JobStore(Protocol):
    """What the API needs."""

    def create(self, new: NewJob, *, reservation: Reservation | None = None) -> Job:
        """Insert job and outbox row in one transaction, and bind the reserved Idempotency-Key in it.

        Safe to repeat with the same id. Raises IdempotencyInFlight, storing nothing, when another job has the key.
        """
        ...

    def get(self, job_id: str) -> Job:
        """Raises JobNotFound (also for jobs whose deletion has begun)."""
        ...

    def versions(self, job_ids: Collection[str]) -> dict[str, int]:
        """`Job.version` of those that `get` would return; cheap, for who looks often."""
        ...

    def list(
        self, *, status: JobStatus | None = None, limit: int = 50, after: str | None = None
    ) -> tuple[Sequence[Job], str | None]:
        """Newest first. `after` is the cursor of the page before; returns (jobs, next cursor or None)."""
        ...

    def request_cancel(self, job_id: str) -> Job:
        """queued -> cancelled at once; processing -> cancelling; cancelling stays. Raises AlreadyTerminal, JobNotFound."""
        ...

    def request_delete(self, job_id: str) -> None:
        """Hide the job from now on and cancel it; the sweeper removes objects and rows. Raises JobNotFound."""
        ...

    def counts(self) -> dict[str, int]:
        """Number of jobs by status (for MAX_QUEUED_JOBS, /metrics)."""
        ...

    def ping(self) -> None:
        """Raises DatabaseUnavailable unless a trivial query succeeds."""
        ...


class Claims(Protocol):
    """What a consumer needs to own a job."""

    def claim(
        self, *, owner: str, consumer: str, lease_seconds: float, short_only: bool = False, max_attempts: int = 3
    ) -> Claim | None:
        """Take the first waiting job (priority, then age) or None.

        Waiting is queued, or processing with an expired lease, and not held back by `not_before`.
        Raises fence and attempts; a claim of an expired lease adds a strike. A cancelling job with
        an expired lease is ended as cancelled here. short_only: only jobs known or guessed
        (by size) to be under 10 minutes of audio. max_attempts: as in `Hints.sweep`, which is part of
        each claim, since a job that kills its owners would otherwise be taken before a sweep sees it.
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

    def held(self, consumer: str) -> list[tuple[str, str, bool]]:
        """(job id, lease owner, cancel or delete requested) of this consumer's jobs: one query, polled."""
        ...


class ChunkStore(Protocol):
    """The plan and its finished parts. Writes are fenced: a stale claim raises LeaseLost and writes nothing."""

    def add(self, claim: Claim, chunks: Sequence[ChunkRow]) -> None:
        """Append planned chunks (indexes continue the stored plan; an index that exists is left as it is)."""
        ...

    def rows(self, job_id: str) -> list[ChunkRow]:
        """All chunks in order."""
        ...

    def start(self, claim: Claim, index: int) -> None:
        """Note that the chunk is in flight under this fence."""
        ...

    def commit(self, claim: Claim, row: ChunkRow, *, audio_seconds: float) -> bool:
        """Store a finished (done or failed) chunk and the job's progress in one transaction; resets strikes when done.
        Returns False when it was already finished."""
        ...

    def adopt(self, claim: Claim, from_job: str) -> int:
        """Copy plan and finished chunks of another job with the same plan hash (retry); returns how many are done."""
        ...


class Hints(Protocol):
    """The outbox, and what the sweeper looks after."""

    def unsent(self, limit: int) -> list[tuple[int, str]]:
        """(outbox id, job id) due for sending, oldest first."""
        ...

    def sent(self, outbox_ids: Sequence[int]) -> None: ...

    def free_slots(self) -> int:
        """Job slots of all consumers that are heard of, less the jobs in work: so many hints can be of use."""
        ...

    def rehint(self, *, older_than: float, limit: int) -> int:
        """Add outbox rows, with growing back-off per job, for waiting jobs whose last hint is old. Returns how many."""
        ...

    def sweep(self, *, max_attempts: int) -> dict[str, int]:
        """End what nobody else will: cancelling with an expired lease -> cancelled; expired for the max_attempts-th
        time in a row without a finished chunk -> failed/worker_crashed. Returns {"cancelled": n, "failed": n}.

        Also forgets reservations of Idempotency-Keys that ran out long ago without a job."""
        ...

    def installation(self) -> str:
        """Id of this database, made when first asked for: an object store that knows another one is not ours to clear."""
        ...

    def removable(self, *, limit: int) -> list[Job]:
        """Jobs whose deletion is requested and whose lease is free: objects first, then `remove`."""
        ...

    def remove(self, job_id: str) -> None:
        """Delete the rows for good."""
        ...

    def expire(self, *, audio_hours: float, result_hours: float, limit: int) -> list[Job]:
        """Mark terminal jobs past retention; returns them so that the caller removes their objects. 0 = never."""
        ...

    def known_keys(self, keys: Sequence[str], *, besides: str | None = None) -> set[str]:
        """Which of these object keys are not to be cleared away: a row refers to them and has not expired, or they lie in
        the folder of a job that has not ended (`core.objects.store.job_of`). The job `besides` does not count."""
        ...


class Idempotency(Protocol):
    """Reservations of Idempotency-Key (contract: same key and fingerprint -> same job)."""

    def reserve(self, key: str, *, owner: str = "", lease_seconds: float) -> str | None:
        """None = reserved now by us; a job id = already used by that job (compare `fingerprint`). Raises IdempotencyInFlight."""
        ...

    def renew(self, key: str, *, owner: str = "", lease_seconds: float) -> None:
        """The request that reserved the key is still coming in. Of a key without a reservation, nothing comes."""
        ...

    def fingerprint(self, key: str, *, owner: str = "") -> str | None: ...

    def bind(self, key: str, *, owner: str = "", fingerprint: str, job_id: str) -> None: ...

    def free(self, key: str, *, owner: str = "") -> None: ...
