"""What an HTML form may hold, and the options of a job as one: their description is made from their table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field, create_model

from core.jobs.params import JobParams
from core.options import Objects, options
from core.submission.joining import BATCH


@dataclass(frozen=True, kw_only=True)
class Form:
    """The parts of one kind of form.

    file: name of the part that is a file; fields: names of the others; repeated: those of them that may come several times
    head: bytes that belong before those of the file, for what is sent without any
    """

    file: str = "file"
    fields: tuple[str, ...]
    repeated: frozenset[str] = frozenset()
    head: bytes = b""
    #: longest text, in bytes, of fields that may have more than others; of repeated ones together
    large: Mapping[str, int] = field(default_factory=dict)


_BATCH = {"type": "string", "format": "uuid", "description": "Id of an open batch that the job is to belong to."}
_FILE = {"type": "string", "format": "binary", "description": "An audio or video file."}


def form_of(table: type[JobParams]) -> Form:
    """The form of a table of options."""
    large = {option.name: most for option in options(table) if (most := option.about.form_bytes)}
    return Form(fields=(*(option.name for option in options(table)), BATCH), large=large)


def form_schema(table: type[JobParams], defaults: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """That form as JSON Schema: nothing but the file has to be there. defaults: this installation's own (JOB_DEFAULTS)"""
    asked = options_schema(table, "Form", defaults=defaults)
    for option in options(table):
        if option.kind in (dict, list, Objects):  # a form has texts
            text = {"type": "string", "description": option.about.help}
            coded = {} if option.kind is list else {"contentMediaType": "application/json"}
            asked["properties"][option.name] = text | coded
    return {
        "type": "object",
        "required": ["file"],
        "properties": {"file": _FILE, **asked["properties"], BATCH: _BATCH},
        "additionalProperties": False,
    }


def named_schema(
    table: type[JobParams], defaults: Mapping[str, Any] = MappingProxyType({}), *, alone: bool = True
) -> dict[str, Any]:
    """The options and the name of a file, as JSON Schema: exactly one of the names. defaults: as of `form_schema`

    alone: it may name a batch that it is to belong to
    """
    url = {
        "type": "string",
        "format": "uri",
        "maxLength": 2048,
        "description": "Where the file is fetched from (URL_INGEST).",
    }
    key = {"type": "string", "maxLength": 1024, "description": "Key of an object in the bucket INGEST_BUCKET."}
    return {
        "type": "object",
        "oneOf": [{"required": ["url"]}, {"required": ["object"]}],
        "properties": {
            "url": url,
            "object": key,
            **options_schema(table, "Named", defaults=defaults)["properties"],
            **({BATCH: _BATCH} if alone else {}),
        },
        "additionalProperties": False,
    }


def options_schema(
    table: type, name: str, *, filled: bool = False, defaults: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """A JSON object of options as JSON Schema. filled: as the body of a job has it, where all of them are there"""
    members: dict[str, Any] = {}
    for option in options(table):
        words = option.about
        described = Field(
            ge=words.ge,
            le=words.le,
            max_length=words.max_length,
            description=words.help,
            examples=[words.example] if filled and words.example is not None else None,
        )
        if option.default is not MISSING:
            members[option.name] = (Annotated[option.annotation, described], option.default)
        elif filled:
            members[option.name] = (Annotated[option.annotation, described], ...)
        else:
            members[option.name] = (Annotated[option.annotation, described] | None, None)
    schema: dict[str, Any] = create_model(name, **members).model_json_schema()
    for option_name, value in defaults.items():
        schema["properties"][option_name]["default"] = value
    for member in schema["properties"].values():
        if member.get("default", ...) is None:
            del member["default"]
    return schema
