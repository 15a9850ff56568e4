"""Errors as this interface tells them: `{"detail": "Task not found"}`."""

from __future__ import annotations

from typing import Any

from api.foreign.errors import described, shaped, simpler_status
from core.errors import ServiceError

AWAY = "Parallel service not available"


def status_of(error: ServiceError) -> int:
    return 400 if error.code == "not_ready" else simpler_status(error)


def body_of(error: ServiceError) -> dict[str, Any]:
    """The error as JSON, with our code and, where that says more, our words beside it."""
    detail = {404: "Task not found", 503: AWAY}.get(status_of(error), error.message)
    reason = {"reason": error.message} if detail != error.message else {}
    return {"detail": detail, "code": error.code, **reason}


told = shaped(body_of, status_of)
"""As `problems.told`, in this shape."""

ERRORS = described({"detail": {"type": "string"}, "code": {"type": "string"}, "reason": {"type": "string"}})
"""For the description."""
