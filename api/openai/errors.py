"""Errors in OpenAI's shape, with the statuses from which its clients make their exceptions."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from api.http import problems
from core.errors import ServiceError

CODES = {
    "unknown_model": "model_not_found",
    "unauthorized": "invalid_api_key",
    "queue_full": "rate_limit_exceeded",
    "rate_limited": "rate_limit_exceeded",
}
"""Where OpenAI has a name of its own."""

STATUS: Mapping[int, int] = {422: 400, 415: 400}
"""What it calls a bad request."""


_CONTENT = {
    "application/json": {
        "schema": {
            "type": "object",
            "properties": {
                "error": {
                    "type": "object",
                    "properties": {
                        "message": {"type": "string"},
                        "type": {"type": "string"},
                        "param": {"type": ["string", "null"]},
                        "code": {"type": "string"},
                    },
                }
            },
        }
    }
}
ERRORS: dict[int | str, dict[str, Any]] = {
    401: {"description": "", "content": _CONTENT},
    403: {"description": "", "content": _CONTENT},
    429: {"description": "`rate_limit_exceeded`, `quota_exceeded`", "content": _CONTENT},
    "4XX": {"description": "An error, in OpenAI's shape.", "content": _CONTENT},
    "5XX": {"description": "An error, in OpenAI's shape.", "content": _CONTENT},
}
"""For the description."""


def body_of(error: ServiceError) -> dict[str, Any]:
    """The error as JSON."""
    status = status_of(error)
    fields = error.details.get("errors") or [{}]
    kind = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
    return {
        "error": {
            "message": error.message,
            "type": kind.get(status, "server_error" if status >= 500 else "invalid_request_error"),
            "param": "model" if error.code == "unknown_model" else fields[0].get("field"),
            "code": CODES.get(error.code, error.code),
        }
    }


def status_of(error: ServiceError) -> int:
    if error.code == "unknown_model":
        return 404
    status = problems.status_of(error)
    return STATUS.get(status, status)


def told(method: str, path: str, error: ServiceError) -> Response:
    """As `problems.told`, in this shape; with its headers."""
    usual = problems.told(method, path, error)
    headers = {name: usual.headers[name] for name in ("Retry-After", "WWW-Authenticate") if name in usual.headers}
    return Response(json.dumps(body_of(error)), status_of(error), headers=headers, media_type="application/json")


class OpenAIRoute(APIRoute):
    """A route whose errors have this shape."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except ServiceError as error:
                return told(request.method, request.url.path, error)

        return handled
