"""JSON schemas in few words: each assistant reads them all, each time."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """What is given, or answered: without titles, and without null for what may be left out."""
    schema = model.model_json_schema(schema_generator=_Short)
    for part in (schema, *schema.get("$defs", {}).values()):
        part.pop("title", None)
    return schema


class _Short(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        known = super().default_schema(schema)
        return {name: value for name, value in known.items() if name != "default" or value is not None}
