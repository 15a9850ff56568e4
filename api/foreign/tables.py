"""Other people's forms and queries as tables of options (`core.options`): read, and described."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from api.upload.form import Form, options_schema
from core.errors import Unsupported, refusal
from core.options import options, read

T = TypeVar("T")


def values_of(table: type[T], given: Mapping[str, Any]) -> T:
    """What was given, with the table's defaults. Raises ValidationFailed for every bad value and every unknown name."""
    values, errors = read(table, given)
    if errors:
        raise refusal(*errors)
    return table(**values)


def unsupported(field: str, message: str) -> Unsupported:
    """What this service cannot do, named as a field is."""
    return Unsupported(f"{field}: {message}", errors=[{"field": field, "message": message}])


def form_of(table: type, *, file: str = "file") -> Form:
    """The form with these fields beside its file."""
    return Form(file=file, fields=tuple(option.name for option in options(table)))


def form_body(table: type, *, file: str = "file", several: bool = False) -> dict[str, Any]:
    """A form for the API's description."""
    one: dict[str, Any] = {"type": "string", "format": "binary", "description": "An audio or video file."}
    schema = {
        "type": "object",
        "required": [file],
        "properties": {
            file: {"type": "array", "items": one, "minItems": 1} if several else one,
            **options_schema(table, "Form")["properties"],
        },
        "additionalProperties": False,
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def query_parameters(table: type) -> list[dict[str, Any]]:
    """A query for the API's description."""
    return [
        {"name": name, "in": "query", "required": False, "description": schema.pop("description"), "schema": schema}
        for name, schema in options_schema(table, "Query")["properties"].items()
    ]
