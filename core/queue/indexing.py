"""Write into the search index what jobs say: an idempotent step behind their ends and edits.

The transaction that ends a job, or adds a revision, marks it (`search.due`); that is all it has to do with the index. So no
job fails or waits for the index, whatever is in its text, and what existed before there was one, or is to be written anew, goes
the same way. It is found by its name from the beginning, and by nothing from the moment it is deleted.
"""

from __future__ import annotations

import json
import logging
import time

from core.errors import TransientError
from core.jobs.job import Job
from core.objects.store import ObjectStore
from core.store.protocols import Upkeep
from core.transcript.formats import from_result
from core.transcript.search.document import Document

log = logging.getLogger(__name__)

AT_ONCE = 20


def index_due(store: Upkeep, objects: ObjectStore, *, seconds: float) -> int:
    """Write what is due, for about so long; returns how many. Several processes may do so at once.

    Raises StorageUnavailable, DatabaseUnavailable, DiskFull: the rest stays due.
    """
    end, count = time.monotonic() + seconds, 0
    while due := store.unindexed(limit=AT_ONCE):
        for job, key in due:
            count += store.index(job, _document(objects, job, key))
            if time.monotonic() >= end:
                return count
    return count


def _document(objects: ObjectStore, job: Job, key: str | None) -> Document | None:
    if key is None:
        return None
    try:
        with objects.open(key) as stream:
            return Document.of(from_result(json.load(stream)))
    except TransientError:
        raise
    except Exception as error:  # whatever is wrong with one of them must not hold up the others
        log.warning("The text of job %s is not found by search, as it cannot be read: %r", job.id, error)
        return None
