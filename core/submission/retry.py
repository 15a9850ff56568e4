"""The same file and options once more."""

from __future__ import annotations

import logging

from core.errors import AlreadyTerminal, Expired, NotReady
from core.jobs.job import Job, JobStatus
from core.store.owners import OwnerJobs
from core.system import tracing

log = logging.getLogger(__name__)


def retry(jobs: OwnerJobs, job_id: str, *, everything: bool) -> Job:
    """A new job with the file and the options of one that failed, was cancelled or is partial.

    everything: it takes over no finished chunk. The stored upload, which both jobs refer to, is removed when the last job
    that refers to it is (`Retention.known_keys`).
    Raises JobNotFound, NotReady, AlreadyTerminal, Expired.
    """
    old = jobs.get(job_id)
    if not old.terminal:
        raise NotReady("The job has not ended yet: cancel it first, or wait.")
    if old.status is JobStatus.COMPLETED and not old.partial:
        raise AlreadyTerminal("The job is complete: there is nothing to retry.")
    if old.expired_audio:
        raise Expired("The retention time is over and the upload has been removed; send the file again.")
    job = jobs.create(old.again(everything=everything, caller=tracing.caller()))
    log.info("Job %s retries %s", job.id, old.id)
    return job
