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

FILES, PARAMS = "files", "params"

OWN = ("callback_url", "metadata")
"""Options of a job that a batch has for itself; those of its jobs are among its `params`."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """As it was given. params: options of each job; own: see OWN"""

    params: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)


async def json_asked(request: Request) -> Asked:
    """Read the body. Raises TooLarge, ValidationFailed."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > JSON_BYTES:
            raise TooLarge(f"The body is larger than {JSON_BYTES} bytes.", max_bytes=JSON_BYTES)
    given = _object("body", bytes(body))
    if unknown := sorted(given.keys() - {PARAMS, *OWN}):
        raise refusal(*({"field": name, "message": "Extra inputs are not permitted"} for name in unknown))
    params = given.get(PARAMS)
    if not isinstance(params, dict | None):
        raise refusal({"field": PARAMS, "message": "Input should be an object"})
    return Asked(params=params or {}, own={name: given[name] for name in OWN if given.get(name) is not None})


def form_of(table: type[JobParams]) -> Form:
    """The form in which some files come at once."""
    return Form(file=FILES, fields=(*(option.name for option in options(table)),))


def form_asked(fields: Mapping[str, str]) -> Asked:
    """Raises ValidationFailed."""
    params = dict(fields)
    return Asked(own={name: params.pop(name) for name in OWN if name in params}, params=params)


def described(table: type[JobParams]) -> dict[str, Any]:
    """Both as OpenAPI's content by media type."""
    asked = options_schema(table, "Options")
    plain = {
        "type": "object",
        "properties": {
            PARAMS: {
                "type": "object",
                "description": "Options of each of its jobs, unless its upload says otherwise.",
                "properties": asked["properties"],
                "additionalProperties": False,
            },
            **{name: asked["properties"][name] for name in OWN},
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
        "properties": {FILES: files, **asked["properties"]},
        "additionalProperties": False,
    }
    return {"application/json": {"schema": plain}, "multipart/form-data": {"schema": form}}


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
    return value
