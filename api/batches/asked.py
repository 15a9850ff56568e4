"""What may be asked of a new batch: as JSON, maybe with files that are only named, or as a form with some files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from api.upload.form import Form, form_schema, named_schema, options_schema
from api.upload.json_body import read_object
from api.upload.receiver import Receiver
from core.errors import refusal
from core.jobs.params import JobParams
from core.options import options
from core.submission.batches import AT_ONCE

JSON_BYTES = 1 << 20
"""Of the JSON body."""

FILES, PARAMS, ITEMS = "files", "params", "items"

OWN = ("callback_url", "metadata")
"""Options of a job that a batch has for itself; those of its jobs are among its `params`."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """As it was given. params: options of each job; own: see OWN; items: a file each that is only named, and its options"""

    params: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)
    items: Sequence[Mapping[str, Any]] = ()


async def json_asked(request: Request, receiver: Receiver) -> Asked:
    """Read the body. Raises TooLarge, UploadTooSlow, ValidationFailed."""
    given = await read_object(request, receiver, most=JSON_BYTES, blank=True)
    if unknown := sorted(given.keys() - {PARAMS, ITEMS, *OWN}):
        raise refusal(*({"field": name, "message": "Extra inputs are not permitted"} for name in unknown))
    params = given.get(PARAMS)
    if not isinstance(params, dict | None):
        raise refusal({"field": PARAMS, "message": "Input should be an object"})
    own = {name: given[name] for name in OWN if given.get(name) is not None}
    return Asked(params=params or {}, own=own, items=_items(given.get(ITEMS)))


def _items(given: Any) -> list[dict[str, Any]]:
    if given is None:
        return []
    if not isinstance(given, list) or not 1 <= len(given) <= AT_ONCE:
        raise refusal({"field": ITEMS, "message": f"Input should be a list of 1 to {AT_ONCE} objects"})
    if wrong := [number for number, item in enumerate(given) if not isinstance(item, dict)]:
        raise refusal({"field": f"{ITEMS}.{wrong[0]}", "message": "Input should be an object"})
    return given


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
            ITEMS: {
                "type": "array",
                "minItems": 1,
                "maxItems": AT_ONCE,
                "items": named_schema(table, alone=False),
                "description": "Files that are fetched, each with options that go before `params`. The batch comes closed.",
            },
        },
        "additionalProperties": False,
    }
    files = {
        "type": "array",
        "minItems": 1,
        "items": {"type": "string", "format": "binary"},
        "description": "Audio or video files, each a part of this name.",
    }
    members = {name: form_schema(table)["properties"][name] for name in asked["properties"]}
    form = {
        "type": "object",
        "required": [FILES],
        "properties": {FILES: files, **members},
        "additionalProperties": False,
    }
    return {"application/json": {"schema": plain}, "multipart/form-data": {"schema": form}}
