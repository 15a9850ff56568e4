"""What is sent of an event: the body of the job that a client would get, in an envelope after Standard Webhooks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from api.schemas import JobBody
from core.store.protocols import JobStore
from core.webhooks import Delivery

Data = Callable[[str], dict[str, Any] | None]
"""The `data` of a subject (id of a job or batch); None when it is gone."""


def job_data(store: JobStore, *, base: str) -> Data:
    """Of jobs. base: as in `JobBody.of`"""

    def of(job_id: str) -> dict[str, Any] | None:
        found = store.jobs_of([job_id])
        return JobBody.of(found[0], base=base).model_dump(mode="json") if found else None

    return of


def body_of(delivery: Delivery, data: Mapping[str, Data]) -> str | None:
    """The same text at each attempt. data: by what the event is about (`job`); None when that is gone

    Of addresses in it the query goes: it may open something, and this goes to other receivers too.
    """
    found = data[delivery.event.partition(".")[0]](delivery.subject)
    if found is None:
        return None
    found = _without_query(found | {"params": _without_query(found["params"])})
    timestamp = delivery.created_at.isoformat().replace("+00:00", "Z")
    return json.dumps({"type": delivery.event, "timestamp": timestamp, "data": found}, separators=(",", ":"))


def _without_query(members: dict[str, Any]) -> dict[str, Any]:
    url = members.get("callback_url")
    if not url:
        return members
    parts = urlsplit(url)
    return members | {"callback_url": urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))}
