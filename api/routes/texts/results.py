"""GET /jobs/{id}/result: the transcript in the format asked for, here and not at submit."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.access.scopes import needs
from api.deps import NO_REPEATS, PREFIX, ApiDeps, Deps, JobId, Jobs
from api.events.status import matches
from api.http.downloads import content_disposition, renamed
from api.http.problems import responses
from api.routes.jobs import NOT_MODIFIED, IfNoneMatch
from api.upload.form import options_schema
from core.errors import Expired, NotReady, RevisionNotFound, ServiceError, refusal
from core.jobs.job import Job, JobStatus
from core.keys import JOBS
from core.store.owners import OwnerJobs
from core.transcript.formats import FORMATS, FormatName, from_result, shaping_for
from core.transcript.shaping import Shaping
from core.transcript.values import Transcript

router = APIRouter(prefix=PREFIX, tags=["jobs"], dependencies=[needs(JOBS)])


RevisionName = Annotated[
    str,
    Field(
        pattern=r"^(original|latest|[0-9]{1,9})$", description="`latest`, `original` or a number; 0 is the original."
    ),
]


class ResultQuery(BaseModel):
    """The format; the rest is read by the table of `core.transcript.shaping`, which refuses what it does not know."""

    model_config = ConfigDict(extra="allow")

    format: FormatName = Field("json", description="`verbose_json` and `diarized_json` have OpenAI's shapes.")
    revision: RevisionName = "latest"

    def shaping(self) -> Shaping:
        """What was asked of the look. Raises ValidationFailed."""
        asked = self.model_extra or {}
        if empty := [
            {"field": name, "message": "Input should not be empty"} for name, value in asked.items() if not value
        ]:
            raise refusal(*empty)
        return shaping_for((self.format,), asked)


def _shaping_parameters() -> list[dict[str, Any]]:
    """The options of Shaping as parameters of the query, each with the formats that can honour it."""
    properties = options_schema(Shaping, "Shaping")["properties"]
    return [
        {"name": name, "in": "query", "required": False, "schema": schema, "description": _described_by(name, schema)}
        for name, schema in properties.items()
    ]


def _described_by(name: str, schema: dict[str, Any]) -> str:
    return f"{schema.pop('description')} For {', '.join(kind for kind, form in FORMATS.items() if name in form.takes)}."


SHAPING_PARAMETERS = _shaping_parameters()


def _described() -> dict[str, Any]:
    types = dict.fromkeys(fmt.media_type.partition(";")[0] for fmt in FORMATS.values())
    content = {
        kind: {"schema": {"type": "object"} if kind == "application/json" else {"type": "string"}} for kind in types
    }
    return {"description": "The transcript.", "content": content}


@router.get(
    "/jobs/{job_id}/result",
    response_class=Response,
    dependencies=[NO_REPEATS],
    responses={
        200: _described(),
        **NOT_MODIFIED,
        **responses(
            "job_not_found",
            "revision_not_found",
            "not_ready",
            "not_in_result",
            "expired",
            "storage_unavailable",
            "validation",
        ),
    },
    openapi_extra={"parameters": SHAPING_PARAMETERS},
)
def get_result(
    job_id: JobId, jobs: Jobs, deps: Deps, query: Annotated[ResultQuery, Query()], if_none_match: IfNoneMatch = None
) -> Response:
    """The transcript as a file. 409 until the job has completed, 410 when its retention is over.

    A parameter that the format cannot honour is refused, and so is what needs speakers, a translation or times of words
    (`not_in_result`) of a transcript without them.
    """
    job = jobs.get(job_id)
    shaping = query.shaping()
    result_key_of(job)
    number = number_of(job, query.revision)
    chosen = FORMATS[query.format]
    look = f".{hashlib.sha256(repr(shaping).encode()).hexdigest()[:16]}" if query.model_extra else ""
    headers = {
        "ETag": f'"{job.id}.{job.version}.{number}.{query.format}{look}"',
        "Content-Disposition": content_disposition(renamed(job.source.filename, chosen.extension)),
        "Cache-Control": "private, no-cache",  # to be revalidated each time, by the ETag
    }
    if matches(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    transcript = stored_transcript(deps, jobs, job, number)
    return Response(chosen.render(transcript, shaping), headers=headers, media_type=chosen.media_type)


def result_key_of(job: Job) -> str:
    """Where its result lies. Raises NotReady, Expired."""
    if job.expired_result:
        raise Expired
    if not job.terminal:
        raise NotReady(f"The job is {job.status}; its result comes when it has completed.", retry_after=1)
    if job.status is not JobStatus.COMPLETED or job.result_key is None:
        raise NotReady(
            f"The job has {'failed' if job.status is JobStatus.FAILED else 'been cancelled'}: there is no result."
        )
    return job.result_key


def number_of(job: Job, revision: str) -> int:
    """The revision's number; 0: the original. Raises RevisionNotFound."""
    named = {"original": 0, "latest": job.revision}
    number = named[revision] if revision in named else int(revision)
    if number > job.revision:
        raise RevisionNotFound
    return number


def stored_transcript(deps: ApiDeps, jobs: OwnerJobs, job: Job, number: int = 0) -> Transcript:
    """One revision. Raises NotReady, StorageUnavailable, JobNotFound, RevisionNotFound, Expired."""
    original = result_key_of(job)
    key = jobs.revision(job.id, number).key if number else original
    try:
        with deps.objects.open(key) as stream:
            result = json.load(stream)
    except KeyError:
        result_key_of(jobs.get(job.id))  # deleted or expired since it was looked up?
        raise ServiceError(f"The result of job {job.id} is not in the object store.") from None
    return from_result(result)
