"""What an HTML form may hold, and the options of a job as one: their description is made from their table."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import Annotated, Any

from pydantic import Field, create_model

from core.options import options


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


def form_of(table: type, *, file: str = "file") -> Form:
    """The form of a table of options."""
    return Form(file=file, fields=tuple(option.name for option in options(table)))


def form_schema(table: type, *, name: str = "file", several: bool = False) -> dict[str, Any]:
    """That form as JSON Schema: nothing but the file has to be there. name: of its part; several: there may be more than one"""
    file: dict[str, Any] = {"type": "string", "format": "binary", "description": "An audio or video file."}
    if several:
        file = {"type": "array", "items": file, "minItems": 1}
    asked = options_schema(table, "Form")
    return {
        "type": "object",
        "required": [name],
        "properties": {name: file, **asked["properties"]},
        "additionalProperties": False,
    }


def options_schema(table: type, name: str, *, filled: bool = False) -> dict[str, Any]:
    """A JSON object of options as JSON Schema. filled: as the body of a job has it, where all of them are there"""
    members: dict[str, Any] = {}
    for option in options(table):
        words = option.about
        field = Field(
            ge=words.ge,
            le=words.le,
            max_length=words.max_length,
            description=words.help,
            examples=[words.example] if filled and words.example is not None else None,
        )
        if option.default is not MISSING:
            members[option.name] = (Annotated[option.annotation, field], option.default)
        elif filled:
            members[option.name] = (Annotated[option.annotation, field], ...)
        else:
            members[option.name] = (Annotated[option.annotation, field] | None, None)
    schema: dict[str, Any] = create_model(name, **members).model_json_schema()
    for member in schema["properties"].values():
        if member.get("default", ...) is None:
            del member["default"]
    return schema
