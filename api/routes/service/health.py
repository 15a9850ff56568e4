"""At the root, for machines that look after the service."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.deps import Deps, PartsDep
from api.http.problems import Responses, responses
from api.schemas import HealthBody, ReadyBody, VersionBody

router = APIRouter(tags=["health"], responses=responses())


@router.get("/healthz")
async def healthz() -> HealthBody:
    """The process answers. Asks nothing else."""
    return HealthBody()


@router.get("/readyz", responses={503: {"model": ReadyBody, "description": "No job can be accepted."}})
async def readyz(parts: PartsDep, response: Response) -> ReadyBody:
    """Can a job be accepted? Each check has a time limit of its own."""
    ready, checks = await parts.readiness.look()
    if not ready:
        response.status_code = 503
        response.headers["Retry-After"] = "5"
    return ReadyBody(status="ready" if ready else "not_ready", checks=checks)


@router.get("/version")
async def version(deps: Deps) -> VersionBody:
    """Name and version of the program."""
    return VersionBody(version=deps.version)


METRICS: Responses = {
    200: {"description": "Prometheus text format.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


@router.get("/metrics", response_class=Response, responses=METRICS)
def metrics(parts: PartsDep) -> Response:
    """Figures for Prometheus: jobs, what waits, consumers, requests, upload bytes."""
    return Response(parts.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})
