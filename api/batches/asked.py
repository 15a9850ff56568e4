"""What may be asked of a new batch: as JSON, or as a form with some files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from api.http.json_body import object_of, read_body
from api.upload.form import Form, options_schema
from core.errors import refusal
from core.jobs.params import JobParams
from core.options import options

FILES, PARAMS = "files", "params"

OWN = ("callback_url", "metadata")
"""Options of a job that a batch has for itself; those of its jobs are among its `params`."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """As it was given. params: options of each job; own: see OWN"""

    params: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)


async def json_asked(request: Request) -> Asked:
    """Read the body. Raises TooLarge, UploadTooSlow, ValidationFailed."""
    given = object_of(await read_body(request) or b"{}")
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
