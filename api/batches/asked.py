"""What may be asked of a new batch: as JSON, or as a form with some files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from starlette.requests import Request

from api.upload.form import Form, options_schema
from core.errors import TooLarge, refusal
from core.jobs.params import JobParams
from core.options import options

JSON_BYTES = 64 * 1024
"""Of the JSON body."""

METADATA_BYTES = 4096
"""Of `metadata`, written without blanks."""

DEEPEST = 32
"""Of objects and lists within one another."""

FILES, METADATA, PARAMS = "files", "metadata", "params"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """params: options of each job, as they were given"""

    params: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] | None = None


async def json_asked(request: Request) -> Asked:
    """Read the body. Raises TooLarge, ValidationFailed."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > JSON_BYTES:
            raise TooLarge(f"The body is larger than {JSON_BYTES} bytes.", max_bytes=JSON_BYTES)
    given = _object("body", bytes(body))
    if unknown := sorted(given.keys() - {PARAMS, METADATA}):
        raise refusal(*({"field": name, "message": _unknown(name)} for name in unknown))
    params, metadata = given.get(PARAMS), given.get(METADATA)
    if not isinstance(params, dict | None):
        raise refusal({"field": PARAMS, "message": "Input should be an object"})
    return Asked(params=params or {}, metadata=_metadata(metadata))


def form_of(table: type[JobParams]) -> Form:
    """The form in which some files come at once."""
    return Form(file=FILES, fields=(*(option.name for option in options(table)), METADATA))


def form_asked(fields: Mapping[str, str]) -> Asked:
    """Raises ValidationFailed."""
    params = dict(fields)
    text = params.pop(METADATA, "")
    return Asked(params=params, metadata=_metadata(_object(METADATA, text.encode())) if text.strip() else None)


def described(table: type[JobParams]) -> dict[str, Any]:
    """Both as OpenAPI's content by media type."""
    asked = options_schema(table, "Options")
    metadata = {
        "type": "object",
        "description": f"Your own, given back unchanged: at most {METADATA_BYTES} bytes of JSON.",
        "maxProperties": 100,
    }
    plain = {
        "type": "object",
        "properties": {
            PARAMS: {
                "type": "object",
                "description": "Options of each of its jobs, unless its upload says otherwise.",
                "properties": asked["properties"],
                "additionalProperties": False,
            },
            METADATA: metadata,
        },
        "additionalProperties": False,
    }
    files = {
        "type": "array",
        "minItems": 1,
        "items": {"type": "string", "format": "binary"},
        "description": "Audio or video files, each a part of this name.",
    }
    form = {
        "type": "object",
        "required": [FILES],
        "properties": {
            FILES: files,
            **asked["properties"],
            METADATA: {"type": "string", "description": f"As in JSON: an object of at most {METADATA_BYTES} bytes."},
        },
        "additionalProperties": False,
    }
    return {"application/json": {"schema": plain}, "multipart/form-data": {"schema": form}}


def _unknown(name: str) -> str:
    if name == "callback_url":
        return "There are no webhooks yet: follow /api/v1/events, or ask for the batch"
    return "Extra inputs are not permitted"


def _object(name: str, text: bytes) -> dict[str, Any]:
    """Raises ValidationFailed for what is no JSON object, or none that can be given back unchanged."""

    def refuse(what: str) -> NoReturn:
        raise refusal({"field": name, "message": what})

    try:
        value = json.loads(text or b"{}")
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:  # no JSON; what is no number; half a character
        refuse(f"not JSON: {error}")
    if not isinstance(value, dict):
        refuse("Input should be an object")
    if _deeper(value, DEEPEST):
        refuse(f"Input should not be nested deeper than {DEEPEST}")
    return value


def _metadata(value: Any) -> Mapping[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise refusal({"field": METADATA, "message": "Input should be an object"})
    if len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()) > METADATA_BYTES:
        raise refusal({"field": METADATA, "message": f"Input should have at most {METADATA_BYTES} bytes"})
    return value


def _deeper(value: Any, than: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return than < 0 or any(_deeper(one, than - 1) for one in inner)
