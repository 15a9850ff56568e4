"""One turn of a slot: claim whichever job is first and run it. What Celery's task and the solo pool both call."""

from __future__ import annotations

import logging

from core.errors import DatabaseUnavailable, DiskFull
from core.system import identity, tracing
from core.system.crashpoints import reached
from worker.context.parts import Parts
from worker.pools.slots import Slots
from worker.run import run_job
from worker.stop import Stopping

log = logging.getLogger(__name__)


def take_turn(parts: Parts, slots: Slots, index: int, stopping: Stopping, *, extra: bool = False) -> bool:
    """Returns whether there was a job. A database that is away is no job: the caller waits and asks again.

    extra: as in `Slots.claim`
    """
    if stopping.is_set():
        return False
    settings = parts.settings

    try:
        claim = slots.claim(
            index,
            lambda only: parts.store.claim(
                owner=identity.owner(parts.consumer),
                consumer=parts.consumer,
                lease_seconds=settings.lease_seconds,
                max_attempts=settings.max_attempts,
                only=only,
                age_seconds=settings.priority_age_seconds,
            ),
            extra=extra,
        )
    except (DatabaseUnavailable, DiskFull) as error:
        log.warning("No claim possible: %s", error.message)
        return False
    if claim is None:
        return False
    reached("after_claim")
    try:
        run_job(parts, claim, stopping, on_duration=lambda seconds: slots.known(index, seconds))
    finally:
        # the reference to the model's host is given back, so that an idle model can be unloaded
        parts.transcriber.engine.close()
        tracing.flush()  # nobody does it when this process ends
        slots.free(index)
    return True
