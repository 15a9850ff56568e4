"""Several files at once, and the failed ones of a batch once more."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from core.errors import (
    AlreadyTerminal,
    DatabaseUnavailable,
    Expired,
    ModelInvalid,
    RequestError,
    ValidationFailed,
    refusal,
)
from core.jobs.batches import Batch, NewBatch
from core.jobs.job import JobStatus, NewJob, Source, new_id
from core.jobs.known_speakers import asked_samples
from core.jobs.params import JobParams
from core.keys import KeyLimits
from core.options import said
from core.store.owners import OwnerBatches, OwnerJobs, Reservation
from core.submission.checks import batch_fingerprint, identity_of, warnings_of
from core.submission.intake import Intake
from core.system import tracing

log = logging.getLogger(__name__)

AT_ONCE = 500
"""Jobs that are made in one transaction."""

NAMED_FAULTS = 20
"""So many of what is wrong with a request's items are told."""


class File(NamedTuple):
    """One file of a new batch. job: id of its job; options: what is said of it alone, ahead of the batch's `params`"""

    job: str
    source: Source
    options: Mapping[str, Any] = MappingProxyType({})


class Faults:
    """What is wrong with the items of one request: all of it, each by its place."""

    def __init__(self) -> None:
        self._errors: list[dict[str, str]] = []

    @contextmanager
    def of(self, number: int) -> Iterator[None]:
        """What is refused in the block is told of that item, from 0: refused fields by `check`, anything else at once."""
        item = f"items.{number}"
        try:
            yield
        except ValidationFailed as error:
            self._errors += [one | {"field": f"{item}.{one['field']}"} for one in error.details["errors"]]
        except (RequestError, ModelInvalid) as error:
            errors = [{"field": item, "message": error.message}]
            raise type(error)(f"{item}: {error.message}", **error.details | {"errors": errors}) from None

    def check(self) -> None:
        """Raises ValidationFailed."""
        if self._errors:
            raise refusal(*self._errors[:NAMED_FAULTS])


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A batch that could be made, and what makes its request another than others (`batch_fingerprint`)."""

    new: NewBatch
    jobs: Sequence[NewJob]
    fingerprint: str


def plan(intake: Intake, given: Mapping[str, Any], own: Mapping[str, Any], files: Sequence[File] = ()) -> Plan:
    """given: options of its jobs. own: `metadata` and `callback_url` of the batch itself. Raises what `Intake.check` does."""
    params, about = _without_samples(intake.check(given)), intake.check(own, usual=False)
    new = NewBatch(id=new_id(), params=params, metadata=about.metadata, callback_url=about.callback_url)
    jobs, faults, caller = list[NewJob](), Faults(), tracing.caller()
    for number, file in enumerate(files):
        with faults.of(number):
            its = params
            if file.options:
                its = _without_samples(intake.check(params.to_dict() | said(file.options), usual=False))
            warnings = warnings_of(its, {**given, **file.options})
            jobs.append(
                NewJob(id=file.job, source=file.source, params=its, batch=new.id, warnings=warnings, caller=caller)
            )
    faults.check()
    identity = batch_fingerprint([(identity_of(job.source), job.params) for job in jobs], params, about)
    return Plan(new=new, jobs=jobs, fingerprint=identity)


def _without_samples(params: JobParams) -> JobParams:
    """Raises ValidationFailed: who is to be known in many jobs is kept once."""
    if asked_samples(params.known_speakers):
        message = "a batch takes no samples: keep the voices and name them, or send the samples with each job"
        raise refusal({"field": "known_speakers", "message": message})
    return params


def make(
    batches: OwnerBatches,
    intake: Intake,
    given: Mapping[str, Any],
    own: Mapping[str, Any],
    files: Sequence[File] = (),
    *,
    key: str | None = None,
) -> Batch:
    """A new batch; with `files`, one that has their jobs and takes no more: all of it or nothing, in one transaction.

    given, own: as of `plan`; key: the Idempotency-Key that is reserved for it. Raises what `plan` and `OwnerBatches.create` do;
    files of what is refused are removed, as by `Intake.accept`.
    """
    try:
        planned = plan(intake, given, own, files)
        reservation = Reservation(key=key, fingerprint=planned.fingerprint) if key else None
        try:
            batch = batches.create(planned.new, jobs=planned.jobs, reservation=reservation)
        except DatabaseUnavailable:
            batch = batches.create(planned.new, jobs=planned.jobs, reservation=reservation)
    except (RequestError, ModelInvalid):
        for file in files:
            if file.source.origin is None:
                intake.discard(file.source.key)
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
