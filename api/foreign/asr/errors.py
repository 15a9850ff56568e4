"""Errors in FastAPI's own shape, which whisper-asr-webservice has: `{"detail": ...}`."""

from __future__ import annotations

from typing import Any

from api.foreign.errors import described, shaped
from core.errors import ServiceError

BODY_PARTS = frozenset({"audio_file", "body", "Content-Type"})
"""What is not in the query."""

NAMES = {"prompt": "initial_prompt"}
"""Where it has another name than our option."""


def body_of(error: ServiceError) -> dict[str, Any]:
    """The error as JSON, with our code beside it."""
    fields = error.details.get("errors")
    detail: str | list[dict[str, Any]] = error.message
    if fields:
        detail = [
            {
                "loc": [_place(one["field"]), NAMES.get(one["field"], one["field"])],
                "msg": one["message"],
                "type": error.code,
            }
            for one in fields
        ]
    return {"detail": detail, "code": error.code}


def _place(field: str) -> str:
    return "body" if field in BODY_PARTS else "query"


told = shaped(body_of)
"""As `problems.told`, in this shape."""

ERRORS = described({"detail": {"type": ["string", "array"]}, "code": {"type": "string"}})
"""For the description."""
