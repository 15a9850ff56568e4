"""Reading one job's status: what clients do most, so it costs as little as it can.

Reads that arrive while a look at the table is under way share the next one: at any load there is one short query
at a time, in one thread, and no answer is older than its question. A body is made once per version of its row and
who may see it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from api.access.identity import Identity, identity_of
from api.access.scopes import check_scope, declared
from api.http.problems import told
from api.schemas import JobBody
from core.errors import JobNotFound, ServiceError
from core.jobs.job import Job
from core.store.protocols import JobStore

REMEMBERED = 1024
"""Bodies kept (some 4 KB each, with their rows)."""

GATHER_SECONDS = 0.001
"""How long reads that found a look under way wait for company: with four busy clients a sixth less CPU time per read
(`benchmarks reads`)."""


class Asked(NamedTuple):
    """One question. base: path under which the routes lie"""

    who: Identity
    job_id: str
    base: str


@dataclass(frozen=True, kw_only=True)
class Status:
    """A job as clients see it. body: JSON."""

    job: Job
    body: bytes

    @property
    def etag(self) -> str:
        return f'"{self.job.id}.{self.job.version}"'

    def response(self, if_none_match: str | None) -> Response:
        headers = {"ETag": self.etag, "Cache-Control": "no-cache"}
        if self.known(if_none_match):
            return Response(status_code=304, headers=headers)
        return Response(self.body, headers=headers, media_type="application/json")

    def known(self, if_none_match: str | None) -> bool:
        """Whether the client has just this."""
        return matches(self.etag, if_none_match)


def matches(etag: str, if_none_match: str | None) -> bool:
    """Weak comparison of RFC 9110 §8.8.3.2."""
    if if_none_match is None:
        return False
    known = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag.removeprefix("W/") in known or "*" in known


class StatusReads:
    """Belongs to one event loop. gather: as GATHER_SECONDS"""

    def __init__(self, store: JobStore, *, gather: float = GATHER_SECONDS) -> None:
        self._store, self._gather = store, gather
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="status")
        self._known: OrderedDict[Asked, Status] = OrderedDict()
        self._waiting: dict[Asked, asyncio.Future[Status]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def read(self, asked: Asked) -> Status:
        """The job as it stands now. Raises JobNotFound (another owner's job is none), DatabaseUnavailable."""
        answer = self._waiting.get(asked)
        if answer is None:
            answer = self._waiting[asked] = asyncio.get_running_loop().create_future()
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(answer)  # others may wait for it too

    async def look(self, asked: Collection[Asked]) -> dict[Asked, Status]:
        """Those that there are, as they stand now: one look for who watches many. Raises DatabaseUnavailable."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._find, asked)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _look(self) -> None:
        try:
            while self._waiting:
                asked, self._waiting = self._waiting, {}
                await self._answer(asked)
                if self._waiting:
                    await asyncio.sleep(self._gather)
        finally:
            self._looking = None

    async def _answer(self, asked: Mapping[Asked, asyncio.Future[Status]]) -> None:
        """Raises what ends the look itself (it was cancelled)."""
        try:
            found = await self.look(asked.keys())
        except BaseException as error:
            for answer in asked.values():
                answer.set_exception(error)
                answer.exception()  # whoever asked may be gone
            if not isinstance(error, Exception):
                raise
            return
        for key, answer in asked.items():
            if (status := found.get(key)) is not None:
                answer.set_result(status)
            else:
                answer.set_exception(JobNotFound())
                answer.exception()

    def _find(self, asked: Collection[Asked]) -> dict[Asked, Status]:
        versions = self._store.versions({one.job_id for one in asked})
        theirs = [one for one in asked if one.job_id in versions and one.who.sees(versions[one.job_id][0])]
        known = {one: self._known.pop(one) for one in theirs if one in self._known}
        changed = {
            one.job_id for one in theirs if one not in known or known[one].job.version != versions[one.job_id][1]
        }
        jobs = {job.id: job for job in self._store.jobs_of(changed)} if changed else {}
        found = {}
        for one in theirs:
            if (job := jobs.get(one.job_id)) is not None:
                known[one] = Status(job=job, body=JobBody.of(job, base=one.base).model_dump_json().encode())
            elif one.job_id in changed:
                continue  # deleted meanwhile
            self._known[one] = found[one] = known[one]
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return found


class StatusRoute:
    """Answers `GET .../jobs/{id}` ahead of the framework, whose own way to a route takes longer than all of the rest.

    What is anything but plain (a query, an odd id, another method) goes on to the route of the same path, which
    also describes it.

    prefix: path under which the routes lie. route: says which scope is needed, and is named in the scope, for log and figures
    """

    def __init__(self, app: ASGIApp, *, reads: StatusReads, prefix: str, route: BaseRoute) -> None:
        self._app, self._reads, self._prefix, self._route = app, reads, prefix, route
        scopes = declared(route)
        assert scopes is not None, "the route has not said what it needs"
        self._scopes = scopes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or scope["query_string"]:
            return await self._app(scope, receive, send)
        path: str = scope["path"]
        base = scope.get("root_path", "").rstrip("/") + self._prefix
        job_id = path[len(base) + 6 :]
        if path[: len(base) + 6] != f"{base}/jobs/" or not _canonical(job_id):
            return await self._app(scope, receive, send)
        scope["route"] = self._route
        try:
            who = identity_of(scope)
            check_scope(who, self._scopes)
            status = await self._reads.read(Asked(who, job_id, base))
        except ServiceError as error:
            response = told(scope["method"], path, error)
        else:
            response = status.response(Headers(scope=scope).get("if-none-match"))
        return await response(scope, receive, send)


def _canonical(job_id: str) -> bool:
    try:
        return str(uuid.UUID(job_id)) == job_id
    except ValueError:
        return False
