"""GET /jobs/{id}/result: the transcript in the format asked for, here and not at submit."""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.access.scopes import needs
from api.deps import NO_REPEATS, PREFIX, ApiDeps, Deps, JobId, Jobs
from api.events.status import matches
from api.http.problems import responses
from api.routes.jobs import NOT_MODIFIED, IfNoneMatch
from core.errors import Expired, NotReady, ServiceError
from core.jobs.job import Job, JobStatus
from core.keys import JOBS
from core.store.protocols import OwnerJobs
from core.transcript.formats import FORMATS, FormatName, from_result

router = APIRouter(prefix=PREFIX, tags=["jobs"], dependencies=[needs(JOBS)])


class ResultQuery(BaseModel):
    """Parameters of the result; others are refused."""

    model_config = ConfigDict(extra="forbid")

    format: FormatName = Field("json", description="`verbose_json` has OpenAI's shape.")


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
        **responses("job_not_found", "not_ready", "expired", "storage_unavailable", "validation"),
    },
)
def get_result(
    job_id: JobId, jobs: Jobs, deps: Deps, query: Annotated[ResultQuery, Query()], if_none_match: IfNoneMatch = None
) -> Response:
    """The transcript as a file. 409 until the job has completed, 410 when its retention is over."""
    job = jobs.get(job_id)
    key = result_key_of(job)
    chosen = FORMATS[query.format]
    headers = {
        "ETag": f'"{job.id}.{job.version}.{query.format}"',
        "Content-Disposition": content_disposition(job.source.filename, chosen.extension),
        "Cache-Control": "private, no-cache",  # to be revalidated each time, by the ETag
    }
    if matches(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    transcript = from_result(stored_result(deps, jobs, job, key))
    return Response(chosen.render(transcript), headers=headers, media_type=chosen.media_type)


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


def stored_result(deps: ApiDeps, jobs: OwnerJobs, job: Job, key: str) -> dict[str, Any]:
    """As it was stored. Raises StorageUnavailable, JobNotFound, Expired."""
    try:
        with deps.objects.open(key) as stream:
            result = json.load(stream)
    except KeyError:
        result_key_of(jobs.get(job.id))  # deleted or expired since it was looked up?
        raise ServiceError(f"The result of job {job.id} is not in the object store.") from None
    assert isinstance(result, dict)
    return result


def content_disposition(source: str, extension: str) -> str:
    """A download name made from the upload's: plain ASCII for old clients, the real one by RFC 5987 (RFC 6266 §4.3)."""
    stem = source.rpartition(".")[0] or source
    name = f"{stem}.{extension.lstrip('.')}"
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%;' else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
