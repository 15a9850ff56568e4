"""Who follows jobs waits here: one look at the table serves all of them.

The hub looks when word comes that a job has changed (`core.store.news`), and every second without.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import Scope

from api.access.identity import Identity
from api.events.finals import FinalSegments, Part
from api.events.follower import Follower, Source
from api.events.overview import Overview
from api.events.status import Asked, Status, StatusReads
from core.errors import Expired, ServiceError
from core.store.protocols import JobStore

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
"""Least time between two looks for each job that moves, and between two states of a job that are told."""

SHORTEST_LOOK_SECONDS = 0.05
"""However many move, not more often: one look is for all of them."""

BLIND_SECONDS = 1.0
"""How long it may take to notice a change that no word came of."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A job at one moment, and its last segments. gone: it has been deleted"""

    status: Status
    part: Part
    gone: bool = False

    @property
    def version(self) -> int:
        return self.status.job.version

    @property
    def ended(self) -> bool:
        """Nothing more will come."""
        return self.gone or (self.status.job.terminal and self.part.complete)


class Watched(Source[Seen]):
    """A job, as some see it. told: when a change was last told, on the loop's clock"""

    told = 0.0


class Hub:
    """Belongs to one event loop."""

    def __init__(self, store: JobStore, reads: StatusReads) -> None:
        self._store, self._reads, self._finals = store, reads, FinalSegments(store)
        self._news = store.news()
        self._listener = ThreadPoolExecutor(1, thread_name_prefix="news")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="segments")
        self._watched: dict[Asked, Watched] = {}
        self._overviews: dict[tuple[Identity, str], Overview] = {}
        self._looking: asyncio.Task[None] | None = None
        self._behind = False
        """Something is known to have changed that has not been told."""
        self._away = False

    @contextlib.asynccontextmanager
    async def follow(self, asked: Asked, scope: Scope) -> AsyncIterator[Follower[Seen]]:
        """Follow one job. Raises JobNotFound (another owner's job is none), DatabaseUnavailable."""
        status = await self._reads.read(asked)
        watched = self._watched.get(asked)
        if watched is None:
            watched = Watched(Seen(status=status, part=await self._read(status, 0)))
            self._behind = self._behind or not watched.seen.part.complete
        elif status.job.version > watched.seen.version:
            await self._tell(watched, status)
        # another may have come, or all have gone, while this waited
        watched = self._watched.setdefault(asked, watched)
        with watched.follow(scope) as follower:
            self._start()
            try:
                yield follower
            finally:
                if watched.followers == {follower}:
                    self._watched.pop(asked, None)

    @contextlib.asynccontextmanager
    async def follow_all(
        self, who: Identity, base: str, scope: Scope
    ) -> AsyncIterator[tuple[Overview, Follower[Mapping[str, Status]]]]:
        """Follow all jobs of who asks."""
        overview = self._overviews.get((who, base))
        if overview is None:
            overview = Overview(self._store, self._reads, self._thread, who, base)
            self._overviews[who, base] = overview
        with overview.follow(scope) as follower:
            self._behind = True
            self._start()
            try:
                yield overview, follower
            finally:
                if overview.followers == {follower}:
                    self._overviews.pop((who, base), None)

    async def changed(self, asked: Asked, status: Status, seconds: float, request: Request) -> Status:
        """The job as soon as it differs from `status`, or what it is when the time is over or the client has gone.

        Raises JobNotFound, DatabaseUnavailable.
        """
        async with self.follow(asked, request.scope) as follower, follower.closing(request.receive):
            seen = follower.now
            if seen.version == status.job.version:
                await follower.wait(seen, seconds)
        return await self._reads.read(asked)

    async def final_segments(self, asked: Asked, first: int, seconds: float, request: Request) -> tuple[Part, bool]:
        """Those from that number on, as soon as there are some; none when the job has ended or the time is over.

        With them whether none will come behind them. Raises as `changed`, and Expired.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        async with self.follow(asked, request.scope) as follower, follower.closing(request.receive):
            while True:
                seen = follower.now
                if seen.status.job.expired_result:
                    raise Expired
                part = await self.segments(seen, first)
                ended = seen.ended and part.end >= part.total
                left = until - loop.time()
                if part.segments or ended or follower.closed or left <= 0:
                    return part, ended
                await follower.wait(seen, left)

    async def segments(self, seen: Seen, first: int) -> Part:
        """Final ones from that number on; none when there are no more by now. Raises DatabaseUnavailable."""
        if seen.part.first <= first < seen.part.end:
            return seen.part
        while True:
            part = await self._read(seen.status, first)
            if part.segments or part.complete:
                return part

    def close(self) -> None:
        """Stop the threads."""
        if self._looking is not None:
            self._looking.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._listener.submit(self._news.close)
        self._listener.shutdown(wait=False)

    def _start(self) -> None:
        if self._looking is None:
            self._looking = asyncio.create_task(self._run())

    async def _run(self) -> None:
        """Look as long as anybody follows."""
        loop = asyncio.get_running_loop()
        try:
            looked = 0.0
            while self._watched or self._overviews:
                # the word first: what changes after it brings another
                if not self._behind and not await self._heard() and loop.time() - looked < BLIND_SECONDS:
                    continue
                await asyncio.sleep(looked + self._pause(loop.time()) - loop.time())
                looked = loop.time()
                await self._look(looked)
        finally:
            self._looking = None

    async def _heard(self) -> bool:
        """Whether there is word that a job which is followed has changed."""
        ids = await asyncio.get_running_loop().run_in_executor(self._listener, self._news.wait, BLIND_SECONDS)
        if ids is None or (ids and self._overviews):
            return True
        return not {asked.job_id for asked in self._watched}.isdisjoint(ids)

    def _pause(self, now: float) -> float:
        """Between two looks: jobs that move are looked at every LOOK_SECONDS, each as if it were alone."""
        moving = sum(now - one.told < 1.0 for one in self._watched.values())
        return max(SHORTEST_LOOK_SECONDS, LOOK_SECONDS / max(1, moving))

    async def _look(self, now: float) -> None:
        self._behind = False
        try:
            await self._look_at_jobs(now)
            for overview in list(self._overviews.values()):
                if now - overview.looked < LOOK_SECONDS:
                    self._behind = True
                else:
                    overview.looked = now
                    await overview.look()
        except Exception as error:
            if not self._away:  # said once, not at each look of a long outage
                known = isinstance(error, ServiceError)
                log.warning("Who follows jobs hears nothing: %s", error, exc_info=None if known else error)
            self._away = self._behind = True
            await asyncio.sleep(BLIND_SECONDS)
        else:
            self._away = False

    async def _look_at_jobs(self, now: float) -> None:
        watched = dict(self._watched)
        found = await self._reads.look(list(watched)) if watched else {}
        for asked, one in watched.items():
            status = found.get(asked)
            if status is None:
                one.publish(Seen(status=one.seen.status, part=one.seen.part, gone=True))
            elif status.job.version > one.seen.version or not one.seen.part.complete:
                if now - one.told < LOOK_SECONDS and not status.job.terminal:
                    self._behind = True
                else:
                    await self._tell(one, status)
                    one.told = now

    async def _tell(self, one: Watched, status: Status) -> None:
        part = await self._read(status, one.seen.part.total)
        self._behind = self._behind or not part.complete
        if status.job.version >= one.seen.version and not one.seen.gone:
            one.publish(Seen(status=status, part=part))

    async def _read(self, status: Status, first: int) -> Part:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._finals.read, status.job, first)
