"""Errors as whisper.cpp's server tells them: `{"error": "..."}`."""

from __future__ import annotations

from typing import Any

from api.foreign.errors import described, shaped, simpler_status
from core.errors import ServiceError


def body_of(error: ServiceError) -> dict[str, Any]:
    """The error as JSON, with our code beside its words."""
    return {"error": error.message, "code": error.code}


told = shaped(body_of, simpler_status)
"""As `problems.told`, in this shape."""

ERRORS = described({"error": {"type": "string"}, "code": {"type": "string"}})
"""For the description."""
