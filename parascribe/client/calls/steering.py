"""Ending jobs and doing them again."""

from __future__ import annotations

from typing import cast

from parascribe.client.answers import json_of
from parascribe.client.bodies import Job
from parascribe.client.calls.reading import Reading
from parascribe.client.calls.sending import path_of, query_of


class Steering(Reading):
    """Calls that change what becomes of a job."""

    async def cancel(self, job_id: str) -> Job:
        """Ask for the job to be cancelled. Raises Conflict (`already_terminal`), NotFound."""
        answer = await self._send("POST", path_of("jobs", job_id, "cancel"), done="already_terminal")
        return cast(Job, json_of(answer)) if answer.is_success else await self.get(job_id)

    async def retry(self, job_id: str, *, all: bool = False) -> Job:  # noqa: A002 (the query's own name)
        """A new job with the same file and parameters that takes over the finished chunks (all=True: none).

        Never sent twice by itself. Raises Conflict unless the job failed, was cancelled or is partial.
        """
        query = query_of(all=True if all else None)
        return cast(
            Job, json_of(await self._send("POST", path_of("jobs", job_id, "retry"), repeat=False, params=query))
        )

    async def delete(self, job_id: str) -> None:
        """Cancel the job if need be and remove it with its audio and transcript. Raises NotFound."""
        await self._send("DELETE", path_of("jobs", job_id), done="job_not_found")
