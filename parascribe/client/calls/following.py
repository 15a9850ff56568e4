"""Being told of jobs as they happen: of one with its text, of any number by one stream."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing, suppress

from core.jobs.job import TERMINAL
from parascribe.client.bodies import Event, Job
from parascribe.client.calls.polling import Polling
from parascribe.client.calls.reading import Reading
from parascribe.client.calls.sending import path_of
from parascribe.client.errors import NotFound, Overloaded, ServiceUnreachable
from parascribe.client.events import OPEN, NotOffered, events_of

LAST_SECONDS = 20.0
"""So much of a time-out is polled: a stream may say nothing for 15 s."""
LOOK_SECONDS = 60.0
"""Between two looks at jobs of which a stream says nothing: there are more than it follows (1,000 in the same state)."""


class Following(Reading, Polling):
    """Calls that last until jobs have ended."""

    async def wait(
        self, job_id: str, *, on_progress: Callable[[Job], None] | None = None, timeout: float | None = None
    ) -> Job:
        """Wait until the job has ended and return it: completed, failed or cancelled.

        on_progress is called with each body that differs from the one before.
        Raises WaitTimeout after `timeout` seconds; the job goes on. NotFound when it is removed meanwhile.
        """
        job: Job | None = None
        async with aclosing(self.watch([job_id], timeout=timeout)) as bodies:
            async for job in bodies:
                if on_progress:
                    on_progress(job)
        assert job is not None
        return job

    async def wait_all(self, job_ids: Iterable[str], *, timeout: float | None = None) -> Sequence[Job]:
        """Wait until all of these have ended, however many, and return them in the same order.

        Raises as `watch`.
        """
        asked = tuple(job_ids)
        ended: dict[str, Job] = {}
        async with aclosing(self.as_completed(asked, timeout=timeout)) as jobs:
            async for job in jobs:
                ended[job["id"]] = job
        return [ended[job_id] for job_id in asked]

    async def as_completed(self, job_ids: Iterable[str], *, timeout: float | None = None) -> AsyncGenerator[Job, None]:
        """Yield each of these jobs, once, as soon as it has ended: completed, failed or cancelled. Raises as `watch`."""
        async with aclosing(self.watch(job_ids, timeout=timeout)) as bodies:
            async for job in bodies:
                if job["status"] in TERMINAL:
                    yield job

    async def watch(self, job_ids: Iterable[str], *, timeout: float | None = None) -> AsyncGenerator[Job, None]:
        """Yield the body of any of these jobs, then whenever it changes, until all have ended.

        However many they are, one stream of the service tells of them. They are polled where the service tells nothing, and
        for the last 20 s of a time-out. Bears an outage of a minute.
        Raises WaitTimeout after `timeout` seconds; NotFound when one of them is not there, or is removed meanwhile.
        """
        start, watched = time.monotonic(), _Watched(job_ids)
        until = float("inf") if timeout is None else start + timeout - LAST_SECONDS
        if watched.left and until > start:
            with suppress(NotOffered):
                async with aclosing(self._told(watched, until)) as bodies:
                    async for job in bodies:
                        yield job
        async with aclosing(self._polled(watched.left, start=start, timeout=timeout)) as bodies:
            async for job in bodies:
                if watched.news(job):
                    yield job

    async def follow(self, job_id: str, *, after: str = "") -> AsyncGenerator[Event, None]:
        """What happens to a job, as it happens, until it has ended: its body, and the transcript as it becomes final.

        after: id of the last event of before, to go on behind it. A connection that breaks is made anew, without a gap or
        a repeat, for as long as an outage of a minute lasts. Raises NotFound, also of a service that has no events (before 0.3).
        """
        try:
            async with aclosing(events_of(self._transport, path_of("jobs", job_id, "events"), after)) as events:
                async for event in events:
                    if not event.data:
                        continue
                    data = event.json()
                    if event.event == "end" and data["status"] == "deleted":
                        await self.get(job_id)
                    yield Event(event=event.event, id=event.id, data=data)
                    if event.event == "end":
                        return
        except NotOffered as error:
            raise NotFound(404, "not_found", str(error)) from error

    async def _told(self, watched: _Watched, until: float) -> AsyncGenerator[Job, None]:
        """Until all have ended, or that moment. Raises NotOffered."""
        (first, *others) = watched.left
        path = path_of("events") if others else path_of("jobs", first, "events")
        silent: set[str] = set()  # of these nothing was said since the stream was opened
        look = float("inf")
        async with aclosing(events_of(self._transport, path, "", until=until)) as events:
            async for event in events:
                if event.event == OPEN:
                    silent, look = set(watched.left), float("inf")
                elif not event.data:
                    # all that was known has been told: the other jobs have ended before, are gone, or are too many
                    look = min(look, time.monotonic())
                else:
                    data = event.json()
                    if event.event == "end" and data["status"] == "deleted" and data["id"] in watched.left:
                        await self.get(data["id"])
                    if event.event == "job":
                        silent.discard(data["id"])
                        if watched.news(data):
                            yield data
                if time.monotonic() >= look:
                    silent &= watched.left.keys()
                    async with aclosing(self._looked(sorted(silent))) as bodies:
                        async for job in bodies:
                            if watched.news(job):
                                yield job
                    look = time.monotonic() + LOOK_SECONDS
                if not watched.left:
                    return

    async def _looked(self, job_ids: Sequence[str]) -> AsyncGenerator[Job, None]:
        """Their bodies, as far as the service gives them now. Raises NotFound."""
        with suppress(ServiceUnreachable, Overloaded):
            for job_id in job_ids:
                yield await self.get(job_id)


class _Watched:
    """Jobs that are waited for. left: those that have not ended, in the order in which they were asked for"""

    def __init__(self, job_ids: Iterable[str]) -> None:
        self.left = dict.fromkeys(job_ids)
        self._last: dict[str, Job] = {}

    def news(self, job: Job) -> bool:
        """Whether the body is of one of them and differs from the last one."""
        job_id = job["id"]
        if job_id not in self.left or job == self._last.get(job_id):
            return False
        self._last[job_id] = job
        if job["status"] in TERMINAL:
            del self.left[job_id], self._last[job_id]
        return True
