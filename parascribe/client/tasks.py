"""Figures of jobs by the names of `/api/v1/parallel`: a part of `Client`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, cast
from urllib.parse import quote

import httpx

from parascribe.client.answers import json_of
from parascribe.client.errors import NotFound

PARALLEL = "/api/v1/parallel"


class Tasks(ABC):
    """What `Client` has of them."""

    @abstractmethod
    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """As `Client` sends all its requests."""

    def get_processing_stats(self) -> dict[str, Any]:
        """Figures of all jobs that one sees: `total_tasks`, `completed_tasks`, `failed_tasks`, `average_processing_time` (s)."""
        return cast("dict[str, Any]", json_of(self._send("GET", f"{PARALLEL}/stats")))

    def get_active_tasks(self) -> list[dict[str, Any]]:
        """Jobs that have not ended: `task_id`, `status`, `progress` (0 to 100), `stage`, `started_at`."""
        return cast("list[dict[str, Any]]", self.get_processing_stats()["active_tasks"])

    def get_task_status(self, task_id: str) -> dict[str, Any] | None:
        """`status` (queued, processing, completed, failed), `progress` and `error` of a job; None when there is none of that id."""
        try:
            answer = self._send("GET", f"{PARALLEL}/status/{quote(task_id, safe='', errors='replace')}")
        except NotFound as error:
            if error.code != "job_not_found":  # an older service has no such address
                raise
            return None
        return cast("dict[str, Any]", json_of(answer)["status"])
