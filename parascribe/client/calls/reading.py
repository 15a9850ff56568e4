"""Looking: at jobs, their transcripts, what was said where, and the service."""

from __future__ import annotations

from typing import Any, Unpack, cast, get_args, overload

from core.transcript.formats import FormatName, JsonFormat, TextFormat
from parascribe.client.answers import json_of
from parascribe.client.bodies import Job, JobPage, Look, SearchPage
from parascribe.client.calls.sending import Sending, path_of, query_of
from parascribe.client.errors import NotFound

Bodies = list[dict[str, Any]]  # in the class `list` is a call


class Reading(Sending):
    """Calls that change nothing."""

    async def get(self, job_id: str) -> Job:
        """The job as it stands. Raises NotFound."""
        return cast(Job, json_of(await self._send("GET", path_of("jobs", job_id))))

    async def list(
        self, *, status: str | None = None, limit: int | None = None, after: str | None = None, q: str | None = None
    ) -> JobPage:
        """One page of jobs, newest first; `after` is the `next` of the page before.

        q: only those with all of this in their name or transcript: words, "phrases", beginnings*
        """
        query = query_of(status=status, limit=limit, after=after, q=q)
        return cast(JobPage, json_of(await self._send("GET", path_of("jobs"), params=query)))

    async def search(self, q: str, *, limit: int | None = None, after: str | None = None) -> SearchPage:
        """Where something was said: words, "phrases", beginnings*. One page, newest jobs first; it may be short, and others follow."""
        query = query_of(q=q, limit=limit, after=after)
        return cast(SearchPage, json_of(await self._send("GET", path_of("search"), params=query)))

    @overload
    async def result(
        self, job_id: str, format: JsonFormat = "json", *, revision: int | str = "latest", **look: Unpack[Look]
    ) -> dict[str, Any]: ...
    @overload
    async def result(
        self, job_id: str, format: TextFormat, *, revision: int | str = "latest", **look: Unpack[Look]
    ) -> str: ...
    async def result(  # `format` is the query's own name
        self,
        job_id: str,
        format: FormatName = "json",  # noqa: A002
        *,
        revision: int | str = "latest",
        **look: Unpack[Look],
    ) -> dict[str, Any] | str:
        """The transcript: a dict for the JSON formats, else text.

        revision: `latest`, `original` or the number of an edit
        look: what the format takes of `core.transcript.shaping.Shaping`; the rest is refused
        Raises Conflict (`not_ready`, `not_in_result`), NotFound.
        """
        query = query_of(format=format, revision=None if revision == "latest" else revision, **look)
        answer = await self._send("GET", path_of("jobs", job_id, "result"), params=query)
        return cast("dict[str, Any]", json_of(answer)) if format in get_args(JsonFormat) else answer.text

    async def models(self) -> dict[str, Any]:
        """What `GET /api/v1/models` says: `default`, and `items` with name, bytes, installed, ... of each model."""
        return cast("dict[str, Any]", json_of(await self._send("GET", path_of("models"))))

    async def system(self) -> dict[str, Any]:
        """What `GET /api/v1/system` says: cores, memory, the resolved plan, engine and ffmpeg versions."""
        return cast("dict[str, Any]", json_of(await self._send("GET", path_of("system"))))

    # by the names of `/api/v1/parallel`

    async def get_processing_stats(self) -> dict[str, Any]:
        """Figures of all jobs that one sees: `total_tasks`, `completed_tasks`, `failed_tasks`, `average_processing_time` (s)."""
        return cast("dict[str, Any]", json_of(await self._send("GET", path_of("parallel", "stats"))))

    async def get_active_tasks(self) -> Bodies:
        """Jobs that have not ended: `task_id`, `status`, `progress` (0 to 100), `stage`, `started_at`."""
        return cast(Bodies, (await self.get_processing_stats())["active_tasks"])

    async def get_task_status(self, task_id: str) -> dict[str, Any] | None:
        """`status` (queued, processing, completed, failed), `progress` and `error` of a job; None when there is none of that id."""
        try:
            answer = await self._send("GET", path_of("parallel", "status", task_id))
        except NotFound as error:
            if error.code != "job_not_found":  # an older service has no such address
                raise
            return None
        return cast("dict[str, Any]", json_of(answer)["status"])
