"""Batches: jobs that were asked for together. Values, and what the jobs of one come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from core.jobs.job import TERMINAL, JobStatus
from core.jobs.params import JobParams


class BatchStatus(StrEnum):
    """Where a batch stands."""

    OPEN = "open"  #: takes more files
    PROCESSING = "processing"  #: closed: no more come; some of its jobs have not ended
    COMPLETED = "completed"  #: closed, and all of its jobs have ended, however


@dataclass(frozen=True, kw_only=True)
class NewBatch:
    """What was asked for. params: of each of its jobs, unless its upload says otherwise"""

    id: str
    params: JobParams
    metadata: Mapping[str, Any] | None = None
    callback_url: str | None = None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One row of the table of batches. Times are aware UTC datetimes."""

    id: str
    owner: str | None
    params: JobParams
    #: the client's own, given back unchanged
    metadata: Mapping[str, Any] | None
    #: told when it is completed
    callback_url: str | None
    created_at: datetime
    closed_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def status(self) -> BatchStatus:
        if self.closed_at is None:
            return BatchStatus.OPEN
        return BatchStatus.PROCESSING if self.finished_at is None else BatchStatus.COMPLETED


@dataclass(frozen=True, kw_only=True)
class Share:
    """What the jobs of a batch in one status add up to; seconds are of audio."""

    status: JobStatus
    jobs: int = 0
    #: of them, completed with gaps
    partial: int = 0
    #: of the files, and of those whose duration is known
    bytes: int = 0
    bytes_known: int = 0
    seconds_known: float = 0.0
    seconds_done: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What the jobs of a batch come to, at one moment. A job that was retried counts no more: the new one does.

    elapsed: seconds since the first of them was begun
    """

    shares: tuple[Share, ...] = ()
    elapsed: float = 0.0

    def counts(self) -> dict[str, int]:
        """Jobs by status, all of them named."""
        found = dict.fromkeys((status.value for status in JobStatus), 0)
        for share in self.shares:
            found[share.status] += share.jobs
        return found

    @property
    def partial(self) -> int:
        return sum(share.partial for share in self.shares)

    @property
    def jobs(self) -> int:
        return sum(share.jobs for share in self.shares)

    @property
    def ended(self) -> int:
        return sum(share.jobs for share in self.shares if share.status in TERMINAL)

    @property
    def seconds(self) -> float:
        """Of all files; the length of what is not decoded yet is guessed by its bytes, after the others."""
        known = sum(share.seconds_known for share in self.shares)
        size = sum(share.bytes_known for share in self.shares)
        waiting = (share for share in self.shares if share.status not in TERMINAL)
        unknown = sum(share.bytes - share.bytes_known for share in waiting)
        return known + (unknown * known / size if size else 0.0)

    @property
    def seconds_done(self) -> float:
        """Of what has ended, however, all; of the others what is transcribed."""
        return sum(share.seconds_known if share.status in TERMINAL else share.seconds_done for share in self.shares)

    def percent(self, status: BatchStatus) -> float:
        """0-100; 100 only when the batch is completed."""
        if status is BatchStatus.COMPLETED:
            return 100.0
        total, done = (self.seconds, self.seconds_done) if self.seconds else (self.jobs, self.ended)
        return round(min(99.0, 100.0 * done / total), 1) if total else 0.0

    @property
    def eta_seconds(self) -> float | None:
        """At the pace since the first was begun; None without one, or when nothing is left."""
        left = self.seconds - self.seconds_done
        if self.ended == self.jobs or not self.seconds_done or not self.elapsed:
            return None
        return round(left * self.elapsed / self.seconds_done, 1)
