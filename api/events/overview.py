"""All jobs of who asks, for those who follow them all: the bodies of those that have not ended, or only just."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from concurrent.futures import Executor
from datetime import UTC, datetime
from functools import partial

from api.access.identity import Identity
from api.events.follower import Source
from api.events.status import Asked, Status, StatusReads
from core.store.protocols import JobStore

MOST = 1000
"""Jobs of each status that are followed: the newest."""

RECENT_SECONDS = 60.0
"""So long a job that has ended is among them: longer than clocks differ, or than an end takes to be seen."""


class Overview(Source[Mapping[str, Status]]):
    """Of one who asks. `seen`: by job id. base: path under which the routes lie. thread: for queries"""

    def __init__(self, store: JobStore, reads: StatusReads, thread: Executor, who: Identity, base: str) -> None:
        super().__init__({})
        self._store, self._reads, self._thread = store, reads, thread
        self._who, self._base = who, base
        self.looked = 0.0

    async def look(self) -> None:
        """Raises DatabaseUnavailable."""
        found = await self.since(time.time())
        if found != self.seen:  # a status that has not changed is the same object
            self.publish(found)

    async def since(self, seconds: float) -> Mapping[str, Status]:
        """What there is now, with the jobs that have ended since then (seconds since the epoch). Raises DatabaseUnavailable."""
        moment = datetime.fromtimestamp(seconds - RECENT_SECONDS, UTC)
        ask = partial(self._store.moving, self._who.owner, all_jobs=self._who.all_jobs, ended_since=moment, limit=MOST)
        versions = await asyncio.get_running_loop().run_in_executor(self._thread, ask)
        known = {
            job_id: status
            for job_id, (_, version) in versions.items()
            if (status := self.seen.get(job_id)) is not None and status.job.version == version
        }
        changed = [Asked(self._who, job_id, self._base) for job_id in versions.keys() - known.keys()]
        news = await self._reads.look(changed) if changed else {}
        return known | {asked.job_id: status for asked, status in news.items()}

    async def deleted(self, job_ids: Collection[str]) -> set[str]:
        """Which of these are no more. Raises DatabaseUnavailable."""
        found = await self._reads.look([Asked(self._who, job_id, self._base) for job_id in job_ids])
        return {*job_ids} - {asked.job_id for asked in found}
