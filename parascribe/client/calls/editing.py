"""Transcripts as people correct them: each edit is a revision, the original stays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from parascribe.client.answers import json_of
from parascribe.client.bodies import Revision, Transcript
from parascribe.client.calls.sending import Sending, path_of, query_of


class Editing(Sending):
    """Calls that make revisions."""

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
