"""Reading one job's status: what clients do most, so it costs as little as it can.

Reads that arrive while a look at the table is under way share the next one: at any load there is one short query
at a time, in one thread, and no answer is older than its question. A body is made once per version of its row.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.problems import told
from api.schemas import JobBody
from core.errors import JobNotFound, ServiceError
from core.store.protocols import JobStore

REMEMBERED = 1024
"""Bodies kept (some 2 KB each)."""

GATHER_SECONDS = 0.001
"""How long reads that found a look under way wait for company: with four busy clients a sixth less CPU time per read
(`benchmarks reads`)."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """A job as clients see it. body: JSON."""

    etag: str
    body: bytes

    def response(self, if_none_match: str | None) -> Response:
        headers = {"ETag": self.etag, "Cache-Control": "no-cache"}
        if matches(self.etag, if_none_match):
            return Response(status_code=304, headers=headers)
        return Response(self.body, headers=headers, media_type="application/json")


def matches(etag: str, if_none_match: str | None) -> bool:
    """Weak comparison of RFC 9110 §8.8.3.2."""
    if if_none_match is None:
        return False
    known = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag.removeprefix("W/") in known or "*" in known


class StatusReads:
    """Belongs to one event loop. gather: as GATHER_SECONDS"""

    def __init__(self, jobs: JobStore, *, gather: float = GATHER_SECONDS) -> None:
        self._jobs, self._gather = jobs, gather
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="status")
        self._known: OrderedDict[tuple[str, str], tuple[int, Status]] = OrderedDict()
        self._waiting: dict[tuple[str, str], asyncio.Future[Status]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def read(self, job_id: str, base: str) -> Status:
        """The job as it stands now. base: path under which the routes lie. Raises JobNotFound, DatabaseUnavailable."""
        asked = (job_id, base)
        answer = self._waiting.get(asked)
        if answer is None:
            answer = self._waiting[asked] = asyncio.get_running_loop().create_future()
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(answer)  # others may wait for it too

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

    async def _answer(self, asked: Mapping[tuple[str, str], asyncio.Future[Status]]) -> None:
        """Raises what ends the look itself (it was cancelled)."""
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._thread, self._find, asked.keys())
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

    def _find(self, asked: Collection[tuple[str, str]]) -> dict[tuple[str, str], Status]:
        versions = self._jobs.versions({job_id for job_id, _ in asked})
        found = {}
        for key in asked:
            job_id, base = key
            if job_id not in versions:
                continue
            known = self._known.pop(key, None)
            if known is None or known[0] != versions[job_id]:
                try:
                    job = self._jobs.get(job_id)
                except JobNotFound:
                    continue
                body = JobBody.of(job, base=base).model_dump_json().encode()
                known = job.version, Status(etag=f'"{job.id}.{job.version}"', body=body)
            self._known[key] = known
            found[key] = known[1]
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return found


class StatusRoute:
    """Answers `GET .../jobs/{id}` ahead of the framework, whose own way to a route takes longer than all of the rest.

    What is anything but plain (a query, an odd id, another method) goes on to the route of the same path, which
    also describes it.

    prefix: path under which the routes lie. route: named in the scope, for log and figures
    """

    def __init__(self, app: ASGIApp, *, reads: StatusReads, prefix: str, route: object) -> None:
        self._app, self._reads, self._prefix, self._route = app, reads, prefix, route

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
            status = await self._reads.read(job_id, base)
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
