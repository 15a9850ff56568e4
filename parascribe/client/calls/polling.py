"""Jobs that are looked at again and again: where the service tells no events, and up to a moment that must not be passed."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable
from typing import cast

import httpx

from core.jobs.job import TERMINAL
from parascribe.client.answers import json_of, retry_after
from parascribe.client.bodies import Job
from parascribe.client.calls.sending import Sending, path_of
from parascribe.client.errors import Overloaded, ServiceUnreachable, WaitTimeout
from parascribe.client.events import OUTAGE_SECONDS, POLL_FIRST, POLL_LAST

WAIT_SECONDS = 20.0
"""How long the service is asked to wait for a change (it may be asked for 60; proxies often cut after 30)."""


class Polling(Sending):
    """What waiting falls back on."""

    async def _polled(
        self, job_ids: Iterable[str], *, start: float, timeout: float | None
    ) -> AsyncGenerator[Job, None]:
        """Bodies of the jobs, again when they have changed, until all have ended. With ETag and back-off, not sooner than the
        service's Retry-After. Bears an outage of a minute. Raises WaitTimeout (`timeout` seconds after `start`), NotFound."""
        lost: float | None = None
        waits = True
        due = dict.fromkeys(job_ids, time.monotonic())
        pause = dict.fromkeys(due, POLL_FIRST)
        etags: dict[str, str] = {}
        while due:
            job_id = min(due, key=lambda key: due[key])
            now = time.monotonic()
            if timeout is not None and max(now, due[job_id]) - start > timeout:
                raise WaitTimeout(f"{len(due)} job(s) have not ended within {timeout:g} s")
            await self._transport.sleep(max(0.0, due[job_id] - now))
            # the service can wait in our place, for one job
            wait = WAIT_SECONDS if waits and len(due) == 1 and etags.get(job_id) else 0.0
            if timeout is not None:
                wait = max(0.0, min(wait, start + timeout - time.monotonic()))
            asked = time.monotonic()
            try:
                query = {"wait": f"{wait:.3f}"} if wait else {}
                known = {"If-None-Match": etags[job_id]} if etags.get(job_id) else {}
                answer = await self._send("GET", path_of("jobs", job_id), headers=known, params=query)
            except (ServiceUnreachable, Overloaded) as error:
                lost = lost or time.monotonic()
                if time.monotonic() - lost > OUTAGE_SECONDS:
                    raise
                pause[job_id] = min(POLL_LAST, 2 * pause[job_id])
                due[job_id] = time.monotonic() + max(pause[job_id], getattr(error, "retry_after", None) or 0.0)
                continue
            lost = None
            if answer.status_code == httpx.codes.NOT_MODIFIED:
                if wait and time.monotonic() - asked >= 0.9 * wait:
                    due[job_id] = time.monotonic()
                    continue
                waits = waits and not wait
                pause[job_id] = min(POLL_LAST, 1.5 * pause[job_id])
            else:
                job = cast(Job, json_of(answer))
                yield job
                if job["status"] in TERMINAL:
                    del due[job_id]
                    continue
                pause[job_id], etags[job_id] = POLL_FIRST, answer.headers.get("ETag", "")
            due[job_id] = time.monotonic() + max(pause[job_id], retry_after(answer) or 0.0)
