"""Several files at once, and the failed ones of a batch once more."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import AlreadyTerminal, DatabaseUnavailable, Expired, ModelInvalid, RequestError
from core.jobs.batches import Batch, NewBatch
from core.jobs.job import JobStatus, NewJob, Source, new_id
from core.keys import KeyLimits
from core.store.owners import OwnerBatches, OwnerJobs, Reservation
from core.submission.checks import batch_fingerprint, warnings_of
from core.submission.intake import Intake
from core.system import tracing

log = logging.getLogger(__name__)

AT_ONCE = 500
"""Jobs that are made anew in one transaction."""


def make(
    batches: OwnerBatches,
    intake: Intake,
    given: Mapping[str, Any],
    own: Mapping[str, Any],
    files: Sequence[tuple[str, Source]] = (),
    *,
    key: str | None = None,
) -> Batch:
    """A new batch; with `files` (job id, stored file), one that has their jobs and takes no more: all of it or nothing.

    given: options of its jobs. own: `metadata` and `callback_url` of the batch itself
    key: the Idempotency-Key that is reserved for it. Raises what `Intake.check` and `OwnerBatches.create` do; files of what is
    refused are removed, as by `Intake.accept`.
    """
    try:
        params = intake.check(given)
        about = intake.check(own, usual=False)
        new = NewBatch(id=new_id(), params=params, metadata=about.metadata, callback_url=about.callback_url)
        warnings = warnings_of(params, given)
        jobs = [
            NewJob(id=job_id, source=source, params=params, batch=new.id, warnings=warnings, caller=tracing.caller())
            for job_id, source in files
        ]
        said = batch_fingerprint([source.sha256 for _, source in files], params, about)
        reservation = Reservation(key=key, fingerprint=said) if key else None
        try:
            batch = batches.create(new, jobs=jobs, reservation=reservation)
        except DatabaseUnavailable:
            batch = batches.create(new, jobs=jobs, reservation=reservation)
    except (RequestError, ModelInvalid):
        for _, source in files:
            intake.discard(source.key)
        raise
    log.info("Made batch %s with %d jobs", batch.id, len(files))
    return batch


def retry_failed(batches: OwnerBatches, jobs: OwnerJobs, limits: KeyLimits, batch_id: str) -> list[str]:
    """New jobs in the place of those that failed, as many as the owner's quota leaves room for; their ids.

    Raises BatchNotFound, AlreadyTerminal when none has failed, Expired when no upload is left.
    """
    made: list[str] = []
    most = limits.jobs_waiting
    room = most - jobs.usage().waiting if most else None
    while room is None or room > len(made):
        more = batches.retry(batch_id, limit=AT_ONCE if room is None else min(AT_ONCE, room - len(made)))
        if not more:
            break
        made += more
    if made:
        log.info("Batch %s: %d jobs are tried again", batch_id, len(made))
        return made
    if batches.items(batch_id, status=JobStatus.FAILED, limit=1)[0]:
        raise Expired("The retention time is over and the uploads have been removed; send the files again.")
    raise AlreadyTerminal("No job of the batch has failed: there is nothing to retry.")
