"""What the jobs of a batch come to."""

from __future__ import annotations

import pytest

from core.jobs.batches import BatchStatus, Share, Tally
from core.jobs.job import JobStatus

QUEUED, RUNNING = JobStatus.QUEUED, JobStatus.PROCESSING
DONE, FAILED = JobStatus.COMPLETED, JobStatus.FAILED


def known(status: JobStatus, jobs: int, seconds: float, done: float = 0.0, *, size: int = 100) -> Share:
    """Decoded files, `size` bytes each."""
    return Share(
        status=status, jobs=jobs, bytes=jobs * size, bytes_known=jobs * size, seconds_known=seconds, seconds_done=done
    )


def waiting(jobs: int, size: int = 100) -> Share:
    return Share(status=QUEUED, jobs=jobs, bytes=jobs * size)


@pytest.mark.parametrize(
    ("shares", "elapsed", "percent", "eta"),
    [
        ((), 0.0, 0.0, None),
        ((waiting(3),), 0.0, 0.0, None),  # nothing to go by
        (
            (known(DONE, 1, 50.0, 50.0), waiting(3)),
            10.0,
            25.0,
            30.0,
        ),  # those that wait are guessed to be like the first
        ((known(DONE, 1, 50.0, 50.0), waiting(1, size=300)), 10.0, 25.0, 30.0),  # by their size
        ((known(DONE, 1, 50.0, 50.0), known(RUNNING, 1, 150.0, 50.0)), 20.0, 50.0, 20.0),
        ((known(DONE, 1, 50.0, 50.0), known(FAILED, 1, 50.0, 10.0)), 10.0, 99.0, None),  # ended, and not closed
        ((Share(status=FAILED, jobs=1, bytes=10), waiting(1)), 10.0, 50.0, None),  # no audio known: by number
    ],
)
def test_progress(shares: tuple[Share, ...], elapsed: float, percent: float, eta: float | None) -> None:
    tally = Tally(shares=shares, elapsed=elapsed)
    assert (tally.percent(BatchStatus.PROCESSING), tally.eta_seconds) == (percent, eta)
    assert tally.percent(BatchStatus.COMPLETED) == 100.0
    assert sum(tally.counts().values()) == tally.jobs
