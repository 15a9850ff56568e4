"""GET /search: where something was said."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from api.access.scopes import needs
from api.deps import NO_REPEATS, PREFIX, Base, Jobs
from api.http.problems import responses
from api.schemas import Body, JobBody, Seconds
from core.jobs.job import Job
from core.keys import JOBS
from core.transcript.search import query as search
from core.transcript.search.document import Document, Part, highlighted

router = APIRouter(prefix=PREFIX, tags=["jobs"], dependencies=[needs(JOBS)])


class SearchQuery(BaseModel):
    """Parameters of the search; others are refused."""

    model_config = ConfigDict(extra="forbid")

    q: str = Field(
        min_length=1,
        max_length=search.MOST_LETTERS,
        description='Words, "phrases" and beginnings*; all of them are in each hit, in its name or transcript.',
    )
    limit: int = Field(20, ge=1, le=50)
    after: str | None = Field(None, pattern=r"^[!-~]{1,200}$", description="`next` of the page before.")
    segments: int = Field(3, ge=0, le=20, description="How many of each job, at most.")


class PartBody(Body):
    text: str
    match: bool = Field(description="This was looked for.")


class FoundSegmentBody(Body):
    """A segment of the newest revision in which something was found."""

    id: int = Field(description="Its place in the transcript, from 0.")
    start: Seconds
    end: Seconds
    snippet: list[PartBody] = Field(description="Its text in parts, cut where it is long.")


class HitBody(Body):
    """One job that has all that was looked for."""

    job: JobBody
    name: list[PartBody] | None = Field(description="The file's name in parts; null: nothing was found in it.")
    segments: list[FoundSegmentBody] = Field(description="Those with most of what was looked for, in order.")


class SearchBody(Body):
    """Newest jobs first."""

    items: list[HitBody]
    next: str | None = Field(
        description="Give it as `after` to go on; null at the end. A page may be short, or empty, and others follow."
    )


@router.get("/search", dependencies=[NO_REPEATS], responses=responses("validation"))
def search_jobs(jobs: Jobs, base: Base, query: Annotated[SearchQuery, Query()]) -> SearchBody:
    """Find what was said, in the newest revisions of your transcripts, and the names of their files.

    Capitals and accents do not matter. The order is that of the list of jobs.
    """
    wanted = search.Query.of(query.q)
    found, following = jobs.search(wanted, limit=query.limit, after=query.after)
    items = [_hit(job, document, wanted, base, query.segments) for job, document in found]
    return SearchBody.model_validate({"items": items, "next": following})


def _hit(job: Job, document: Document, wanted: search.Query, base: str, most: int) -> dict[str, Any]:
    name = highlighted(job.source.filename, wanted)
    return {
        "job": JobBody.of(job, base=base),
        "name": name and _parts(name),
        "segments": [
            {"id": found.segment, "start": found.start, "end": found.end, "snippet": _parts(found.parts)}
            for found in document.excerpts(wanted, most=most)
        ],
    }


def _parts(parts: Iterable[Part]) -> list[dict[str, Any]]:
    return [{"text": part.text, "match": part.match} for part in parts]
