"""Errors in other people's shapes: a body and a status of their own, our headers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import Response

from api.http import problems
from api.http.problems import Responses, Told
from core.errors import ServiceError

BAD_REQUEST: Mapping[int, int] = {422: 400, 415: 400}
"""Where only one status is known for a request that cannot be served as it stands."""

HEADERS = ("Retry-After", "WWW-Authenticate", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")


def shaped(
    body_of: Callable[[ServiceError], dict[str, Any]], status_of: Callable[[ServiceError], int] = problems.status_of
) -> Told:
    """As `problems.told`, with this body and this status."""

    def told(method: str, path: str, error: ServiceError) -> Response:
        usual = problems.told(method, path, error)
        headers = {name: usual.headers[name] for name in HEADERS if name in usual.headers}
        content = json.dumps(body_of(error), ensure_ascii=False)
        return Response(content, status_of(error), headers=headers, media_type="application/json")

    return told


def simpler_status(error: ServiceError) -> int:
    """Ours, but 400 for every request that cannot be served as it stands."""
    status = problems.status_of(error)
    return BAD_REQUEST.get(status, status)


def described(properties: dict[str, Any]) -> Responses:
    """The errors of an interface for the API's description. properties: of their bodies, as JSON Schema"""
    content = {"application/json": {"schema": {"type": "object", "properties": properties}}}
    said: dict[int | str, str] = {
        401: "",
        403: "",
        429: "`queue_full`, `quota_exceeded`",
        "4XX": "An error, in this interface's shape.",
        "5XX": "An error, in this interface's shape.",
    }
    return {status: {"description": words, "content": content} for status, words in said.items()}
