"""Errors as `application/problem+json` (RFC 9457): the one place where codes meet HTTP statuses.

Every error body has `type, title, status, detail, instance, code`, some have `errors` (one entry per
refused field) or a member named in `PUBLIC`. `code` is stable; the words may change.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, cast

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import Receive, Scope, Send

from core.errors import RequestError, ServiceError, TransientError

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

STATUS: Mapping[str, int] = MappingProxyType(
    {
        # requests
        "unauthorized": 401,
        "forbidden": 403,
        "validation": 422,
        "unsupported": 400,
        "sync_timeout": 504,
        "empty_upload": 400,
        "not_media": 415,
        "too_large": 413,
        "upload_too_slow": 408,
        "unknown_model": 422,
        "task_not_supported": 422,
        "not_available": 422,
        "url_refused": 422,
        "url_unreachable": 422,
        "upload_not_found": 404,
        "upload_locked": 423,
        "offset_conflict": 409,
        "upload_protocol": 412,
        "job_not_found": 404,
        "key_not_found": 404,
        "key_in_settings": 409,
        "no_admin_left": 409,
        "webhook_not_found": 404,
        "delivery_not_found": 404,
        "live_full": 503,
        "live_unavailable": 503,
        "live_session_not_found": 404,
        "live_session_ended": 410,
        "live_protocol": 400,
        "live_behind": 503,
        "live_client_slow": 408,
        "live_idle": 408,
        "batch_not_found": 404,
        "batch_closed": 409,
        "voice_not_found": 404,
        "voice_exists": 409,
        "revision_not_found": 404,
        "revision_conflict": 412,
        "precondition_required": 428,
        "rate_limited": 429,
        "quota_exceeded": 429,
        "not_ready": 409,
        "not_in_result": 409,
        "already_terminal": 409,
        "expired": 410,
        "invalid_range": 416,
        "queue_full": 429,
        "idempotency_conflict": 422,
        "idempotency_in_flight": 409,
        "insufficient_storage": 507,
        "not_found": 404,
        "method_not_allowed": 405,
        "internal": 500,
        # infrastructure
        "storage_unavailable": 503,
        "engine_unavailable": 503,
        "disk_full": 507,
        # what ends jobs: an answer of its own only where a request waits for the job
        "no_audio_stream": 422,
        "audio_track_missing": 422,
        "audio_empty": 422,
        "audio_undecodable": 422,
        "audio_too_long": 422,
        "audio_encrypted": 422,
        "source_missing": 500,
        "source_corrupt": 500,
        "object_missing": 422,
        "model_unavailable": 503,
        "model_invalid": 422,
        "chunk_failed": 500,
        "chunk_timeout": 500,
        "translation_failed": 503,
        "worker_crashed": 500,
        "cancelled": 409,
        "lease_lost": 500,
        "handed_back": 503,
    }
)

RETRY_AFTER: Mapping[int | str, int] = MappingProxyType({429: 15, 503: 5, 507: 60, "idempotency_in_flight": 3})
"""Seconds after which trying again may help, by code or status."""

PUBLIC = ("errors", "max_bytes", "models", "job_id", "revision")
"""Details of an error that clients may see; the rest is for logs."""


class NothingHere(RequestError):
    """There is nothing at this address."""

    code = "not_found"


class MethodNotAllowed(RequestError):
    """That is not possible at this address."""

    code = "method_not_allowed"


class FieldError(BaseModel):
    """One refused field or parameter."""

    field: str = Field(examples=["temperature"])
    message: str = Field(examples=["Input should be less than or equal to 1"])


class Problem(BaseModel):
    """An error as RFC 9457 describes it, with a stable `code`."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str = Field(description="The status in words.", examples=["Conflict"])
    status: int = Field(examples=[409])
    detail: str = Field(description="What went wrong this time.", examples=["The job has no result yet."])
    instance: str = Field(description="Path of the request.", examples=["/api/v1/jobs/x/result"])
    code: str = Field(description="Stable name of the error.", examples=["not_ready"])
    errors: list[FieldError] | None = Field(None, description="The refused fields, where it was about fields.")


def status_of(error: ServiceError) -> int:
    """HTTP status of an error; KeyError for a code without one."""
    if error.code == "internal" and isinstance(error, TransientError):
        return HTTPStatus.SERVICE_UNAVAILABLE
    return STATUS[error.code]


def problem(
    path: str, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
) -> Response:
    """One problem as a response. `more` are extension members."""
    title = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "instance": path, "code": code}
    return Response(json.dumps(body | more), status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def rate_headers(counted: Mapping[str, Any]) -> dict[str, str]:
    """`RateLimit-*` (draft-ietf-httpapi-ratelimit-headers-03). counted: limit, remaining and reset, in seconds, if known"""
    return {
        f"RateLimit-{name.title()}": str(counted[name]) for name in ("limit", "remaining", "reset") if name in counted
    }


def from_error(path: str, error: ServiceError) -> Response:
    """The response for one of our own errors."""
    status = status_of(error)
    headers = {"WWW-Authenticate": 'Bearer realm="parascribe"'} if status == HTTPStatus.UNAUTHORIZED else {}
    if retry_after := error.details.get("retry_after", RETRY_AFTER.get(error.code, RETRY_AFTER.get(status))):
        headers["Retry-After"] = str(retry_after)
    headers |= rate_headers(error.details)
    if (size := error.details.get("size")) is not None:
        headers["Content-Range"] = f"bytes */{size}"
    more = {name: error.details[name] for name in PUBLIC if name in error.details}
    return problem(path, status, error.code, error.message, headers=headers, **more)


def internal(path: str) -> Response:
    """The answer to a defect: says nothing of its cause, which is in the log."""
    return problem(path, 500, "internal", "Something went wrong inside the service; its log says more.")


Responses = dict[int | str, dict[str, Any]]
"""As FastAPI takes them."""


def responses(*codes: str) -> Responses:
    """The OpenAPI entries of the codes a route can answer with; a defect and a database that is away always can be."""
    by_status: dict[int, list[str]] = {500: ["internal"], 503: ["internal"]}
    for code in codes:
        by_status.setdefault(STATUS[code], []).append(code)
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": ", ".join(f"`{n}`" for n in names), "content": content}
        for status, names in sorted(by_status.items())
    }


def field_errors(errors: Sequence[Any]) -> list[dict[str, str]]:
    """pydantic's error list as ours: the field's name and the message in words."""
    out = []
    for error in errors:
        path = [str(part) for part in error["loc"] if part not in ("query", "body", "path", "header")]
        out.append({"field": ".".join(path) or "body", "message": error["msg"].removeprefix("Value error, ")})
    return out


def _allowed(request: Request, said: Mapping[str, str] | None) -> dict[str, str]:
    """All methods of a path, which may be spread over several routes: `said`, the framework's, has those of one."""
    template = getattr(request.scope.get("route"), "path", "")
    known = {method.upper() for method in request.app.openapi()["paths"].get(template, {})}
    known = known or set((said or {}).get("Allow", "GET").split(", "))
    return {"Allow": ", ".join(sorted(known | ({"HEAD"} if "GET" in known else set())))}


def told(method: str, path: str, error: ServiceError) -> Response:
    """The answer to a request that failed; what is the service's own fault is logged."""
    if status_of(error) >= 500:
        log.warning("%s %s: %s: %s", method, path, error.code, error.message)
    return from_error(path, error)


Told = Callable[[str, str, ServiceError], Response]
"""As `told`: method, path and error give the answer."""


async def refused(scope: Scope, receive: Receive, send: Send, error: ServiceError) -> None:
    """The answer of a middleware, also to who wants a WebSocket: that is refused before it is accepted.

    In the shape that `told` in the scope gives it, if there is one.
    """
    if scope["type"] == "websocket":
        await receive()  # the wish to connect
        if "websocket.http.response" not in scope.get("extensions", {}):
            return await send({"type": "websocket.close", "code": 1008, "reason": error.code})
    tell: Told = scope.get("told", told)
    return await tell(scope.get("method", "WEBSOCKET"), scope["path"], error)(scope, receive, send)


def install(app: FastAPI) -> None:
    """Make every error of the app a problem."""

    async def ours(request: Request, error: Exception) -> Response:
        tell: Told = request.scope.get("told", told)
        return tell(request.method, request.url.path, cast(ServiceError, error))

    async def either(request: HTTPConnection, error: Exception) -> Response | None:
        if isinstance(request, Request):
            return await ours(request, error)
        socket = cast(WebSocket, request)
        await refused(socket.scope, socket.receive, socket.send, cast(ServiceError, error))
        return None

    async def invalid(request: Request, error: Exception) -> Response:
        errors = field_errors(cast(RequestValidationError, error).errors())
        detail = "; ".join(f"{e['field']}: {e['message']}" for e in errors)
        return problem(request.url.path, 422, "validation", detail, errors=errors)

    async def plain(request: Request, error: Exception) -> Response:
        failure = cast(HTTPException, error)
        if failure.status_code == HTTPStatus.NOT_FOUND:
            return await ours(request, NothingHere())
        if failure.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            answer = await ours(request, MethodNotAllowed(f"{request.method} is not possible at this address."))
            answer.headers.update(_allowed(request, failure.headers))
            return answer
        code = "internal" if failure.status_code >= 500 else "validation"
        return problem(request.url.path, failure.status_code, code, str(failure.detail), headers=failure.headers)

    async def gone(request: Request, error: Exception) -> Response:
        # nobody reads this; the status is for the log and the metrics (as nginx counts it)
        return Response(status_code=499)

    app.add_exception_handler(ServiceError, either)  # type: ignore[arg-type]  # of WebSockets too
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, plain)
    app.add_exception_handler(ClientDisconnect, gone)
