"""Store an edited transcript as the revision behind the one that was edited."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from typing import Literal

from core.errors import Expired, JobNotFound, RevisionConflict
from core.jobs.job import Job
from core.objects.store import ObjectStore, revision_key
from core.store.owners import OwnerJobs, Revision
from core.submission.intake import Intake
from core.transcript.formats import to_result
from core.transcript.values import Transcript

Kind = Literal["transcript", "speakers"]


def revise(
    jobs: OwnerJobs, objects: ObjectStore, intake: Intake, job: Job, after: Transcript, *, edited: int, kind: Kind
) -> Revision:
    """The new revision. edited: number of the one that `after` was made of

    The object comes first and the row after it: an object without a row is cleared away, a row without an object could not be.
    Sent again because the answer was lost, it is the one that is there.
    Raises RevisionConflict when `edited` is not the newest any more, JobNotFound, Expired, InsufficientStorage,
    StorageUnavailable, DiskFull.
    """
    provenance = {**after.provenance, "revision": edited + 1}
    data = json.dumps(to_result(replace(after, provenance=provenance)), ensure_ascii=False).encode()
    digest = hashlib.sha256(data).hexdigest()
    new = Revision(number=edited + 1, kind=kind, key=revision_key(job.id, edited + 1), sha256=digest)
    if edited < job.revision:
        return _sent_again(jobs, job, new)
    intake.check_disk(len(data))
    objects.put(new.key, io.BytesIO(data), media_type="application/json")
    try:
        stored = jobs.revise(job.id, new)
    except (RevisionConflict, Expired, JobNotFound):
        objects.delete(new.key)  # after any other error the row may be there: the sweeper knows
        raise
    if stored.key != new.key:
        objects.delete(new.key)
    return stored


def _sent_again(jobs: OwnerJobs, job: Job, new: Revision) -> Revision:
    newest = jobs.revision(job.id, job.revision)
    if (newest.number, newest.sha256) != (new.number, new.sha256):
        raise RevisionConflict(revision=job.revision)
    return newest
