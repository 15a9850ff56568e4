"""Figures of jobs by the names of `/api/v1/parallel`."""

from __future__ import annotations

from typing import Any, cast

from parascribe.client.answers import json_of
from parascribe.client.calls.sending import Sending, path_of
from parascribe.client.errors import NotFound


class Tasks(Sending):
    """Calls that older programs know."""

    async def get_processing_stats(self) -> dict[str, Any]:
        """Figures of all jobs that one sees: `total_tasks`, `completed_tasks`, `failed_tasks`, `average_processing_time` (s)."""
        return cast("dict[str, Any]", json_of(await self._send("GET", path_of("parallel", "stats"))))

    async def get_active_tasks(self) -> list[dict[str, Any]]:
        """Jobs that have not ended: `task_id`, `status`, `progress` (0 to 100), `stage`, `started_at`."""
        return cast("list[dict[str, Any]]", (await self.get_processing_stats())["active_tasks"])

    async def get_task_status(self, task_id: str) -> dict[str, Any] | None:
        """`status` (queued, processing, completed, failed), `progress` and `error` of a job; None when there is none of that id."""
        try:
            answer = await self._send("GET", path_of("parallel", "status", task_id))
        except NotFound as error:
            if error.code != "job_not_found":  # an older service has no such address
                raise
            return None
        return cast("dict[str, Any]", json_of(answer)["status"])
