"""Changing what there is: what becomes of a job, and its transcript as people correct it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from parascribe.client.answers import json_of
from parascribe.client.bodies import Job, Revision, Transcript
from parascribe.client.calls.reading import Reading
from parascribe.client.calls.sending import path_of, query_of


class Changing(Reading):
    """Calls that end jobs and do them again, and that make revisions: each edit is one, the original stays."""

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

    async def transcript(self, job_id: str, *, revision: int | str = "latest") -> Transcript:
        """The transcript to be edited: change its `segments` and give it to `edit`. Raises Conflict (`not_ready`), NotFound."""
        query = query_of(revision=revision)
        return cast(Transcript, json_of(await self._send("GET", path_of("jobs", job_id, "transcript"), params=query)))

    async def edit(self, transcript: Transcript) -> Revision:
        """Store an edited transcript as a new revision; the original stays.

        Raises Conflict (`revision_conflict`) when somebody else has edited it since it was fetched.
        """
        job_id = transcript["id"]
        known = {"If-Match": f'"{job_id}.{transcript["revision"]}"'}
        return cast(Revision, await self._change("PUT", path_of("jobs", job_id, "transcript"), transcript, known))

    async def name_speakers(self, job_id: str, names: Mapping[str, str]) -> Revision:
        """Say what speakers are called: `{"SPEAKER_00": "Anna"}`. Raises Conflict (`not_in_result`) where there are none."""
        return cast(Revision, await self._change("PATCH", path_of("jobs", job_id, "speakers"), dict(names), {}))

    async def _change(self, method: str, path: str, value: object, headers: dict[str, str]) -> Any:
        # in ASCII: what is not valid Unicode is for the service to refuse
        body, headers = json.dumps(value).encode(), headers | {"Content-Type": "application/json"}
        return json_of(await self._send(method, path, content=body, headers=headers))
