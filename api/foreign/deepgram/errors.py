"""Errors as Deepgram's clients read them: `{"err_code", "err_msg", "request_id"}`."""

from __future__ import annotations

import uuid
from typing import Any

from api.foreign.errors import described, shaped, simpler_status
from core.errors import ServiceError
from core.system import logs

CODES = {"unauthorized": "INVALID_AUTH", "forbidden": "INSUFFICIENT_PERMISSIONS", "rate_limited": "TOO_MANY_REQUESTS"}
"""Where Deepgram has a name of its own."""


def request_id() -> str:
    """By which the log knows the request that is being answered."""
    return logs.value_of("request_id") or str(uuid.uuid4())


def body_of(error: ServiceError) -> dict[str, Any]:
    """The error as JSON."""
    return {"err_code": CODES.get(error.code, error.code), "err_msg": error.message, "request_id": request_id()}


told = shaped(body_of, simpler_status)
"""As `problems.told`, in this shape."""

ERRORS = described({name: {"type": "string"} for name in ("err_code", "err_msg", "request_id")})
"""For the description."""
