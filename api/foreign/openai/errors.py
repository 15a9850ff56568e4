"""Errors in OpenAI's shape, with the statuses from which its clients make their exceptions."""

from __future__ import annotations

from typing import Any

from api.foreign.errors import described, shaped, simpler_status
from core.errors import ServiceError

CODES = {
    "unknown_model": "model_not_found",
    "unauthorized": "invalid_api_key",
    "queue_full": "rate_limit_exceeded",
    "rate_limited": "rate_limit_exceeded",
}
"""Where OpenAI has a name of its own."""

_ERROR = {
    "message": {"type": "string"},
    "type": {"type": "string"},
    "param": {"type": ["string", "null"]},
    "code": {"type": "string"},
}
ERRORS = described({"error": {"type": "object", "properties": _ERROR}})
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
    return 404 if error.code == "unknown_model" else simpler_status(error)


told = shaped(body_of, status_of)
"""As `problems.told`, in this shape."""
