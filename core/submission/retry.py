"""The same file and options once more."""

from __future__ import annotations

import logging
from dataclasses import replace

from core.errors import AlreadyTerminal, Expired, NotReady
from core.jobs.job import Job, JobStatus, NewJob, new_id
from core.objects.store import source_key
from core.store.owners import OwnerJobs
from core.system import tracing

log = logging.getLogger(__name__)


def retry(jobs: OwnerJobs, job_id: str, *, everything: bool) -> Job:
    """A new job with the file and the options of one that failed, was cancelled or is partial.

    everything: it takes over no finished chunk. Both jobs refer to one stored upload, under the older one's key: it is
    removed when the last job that refers to it is (`Retention.known_keys`).
    Raises JobNotFound, NotReady, AlreadyTerminal, Expired.
    """
    old = jobs.get(job_id)
    if not old.terminal:
        raise NotReady("The job has not ended yet: cancel it first, or wait.")
    if old.status is JobStatus.COMPLETED and not old.partial:
        raise AlreadyTerminal("The job is complete: there is nothing to retry.")
    if old.expired_audio:
        raise Expired("The retention time is over and the upload has been removed; send the file again.")
    job_id, source = new_id(), old.source
    if source.origin is not None:  # never brought: each brings its own
        source = replace(source, key=source_key(job_id))
    new = NewJob(
        id=job_id,
        source=source,
        params=old.params,
        retry_of=old.id,
        retry_all=everything,
        priority=old.priority,
        caller=tracing.caller(),
    )
    job = jobs.create(new)
    log.info("Job %s retries %s", job.id, old.id)
    return job
