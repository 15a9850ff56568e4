"""Jobs that are to belong to a batch: which one, and what it says where they say nothing."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from core.errors import BatchClosed, BatchNotFound, refusal
from core.jobs.batches import Batch
from core.options import said

BATCH = "batch"
"""The field that names an open batch."""


class Asked(NamedTuple):
    """Options of a job, and the id of its batch."""

    options: Mapping[str, Any]
    batch: str | None


def batch_of(given: str) -> str:
    """The id of a batch in its canonical spelling. Raises BatchNotFound."""
    try:
        return str(uuid.UUID(given))
    except ValueError:
        raise BatchNotFound from None


def asked_of(find: Callable[[str], Batch], fields: Mapping[str, Any], *, for_new: bool = True) -> Asked:
    """What the fields ask for, and where they say nothing, their batch. Raises BatchNotFound, BatchClosed (for_new)."""
    options = dict(fields)
    given = options.pop(BATCH, None)
    if given is None:
        return Asked(options, None)
    if not isinstance(given, str):  # JSON has more than texts
        raise refusal({"field": BATCH, "message": "Input should be a valid string"})
    batch = find(batch_of(given))
    if for_new and batch.closed_at is not None:
        raise BatchClosed
    return Asked(batch.params.to_dict() | said(options), batch.id)
