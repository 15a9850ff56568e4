"""What is known of an option besides its name, type and default: bounds, words for people, and how a value is read.

A table of options is a frozen dataclass whose fields carry `about(...)`; `core.jobs.params.JobParams` is the one of jobs.
Forms, JSON, the command line and the description of the API are made from `options(table)`. Values are read here and not
by pydantic, which stands at the edges only: the command line asks without a service too. The words are pydantic's, which
users know.
"""

from __future__ import annotations

import functools
import json
import math
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})
_FALSE = frozenset({"0", "false", "f", "no", "n", "off"})


class Objects(list[dict[str, Any]]):
    """Stands for the kind of an option that is a list of JSON objects."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What a field's metadata say of an option."""

    #: one line for people, in the API's description and in `--help`
    help: str
    #: bounds of a number, both inclusive
    ge: float | None = None
    le: float | None = None
    #: longest text, in characters; of a list, most entries
    max_length: int | None = None
    #: a value to show in the API's description
    example: Any = None
    #: the one-letter name on the command line, such as `-m`, and what stands for the value in `--help`
    short: str | None = None
    metavar: str | None = None
    #: its name on the command line, where it is given once for each entry of a list
    flag: str | None = None
    #: longest text of it in a form, in bytes; None: as that of any field
    form_bytes: int | None = None
    #: whether a transcript depends on it: else it is no part of its identity
    heard: bool = True
    #: whether the words themselves do: else it is no part of the identity of a transcribed chunk
    words: bool = True
    #: what makes the kept value of a given one; raises ValueError in words for the user
    convert: Callable[[Any], Any] | None = None


def about(help: str, **more: Any) -> Mapping[str, About]:  # noqa: A002 (what argparse and typer call it)
    """Metadata of a dataclass field that is an option; `more` as `About` has it."""
    return {"about": About(help=help, **more)}


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option of a table."""

    name: str
    #: the type in full, as annotated, and without None; `object` where several types are taken, `dict` for JSON objects,
    #: `list` for texts, `Objects` for lists of JSON objects
    annotation: Any
    kind: type
    #: MISSING where every job has a value of its own
    default: Any
    #: the values there are, where they can be counted
    choices: tuple[str, ...]
    about: About

    def read(self, given: Any) -> Any:
        """The value to keep for one given as text or as in JSON. Raises ValueError in words for the user."""
        value = _PARSE[self.kind](given)
        if self.choices and value not in self.choices:
            raise ValueError("Input should be " + " or ".join(f"'{choice}'" for choice in self.choices))
        if self.about.ge is not None and value < self.about.ge:
            raise ValueError(f"Input should be greater than or equal to {self.about.ge:g}")
        if self.about.le is not None and value > self.about.le:
            raise ValueError(f"Input should be less than or equal to {self.about.le:g}")
        if self.about.max_length is not None and len(value) > self.about.max_length:
            whole, parts = ("List", "items") if self.kind in (list, Objects) else ("String", "characters")
            raise ValueError(f"{whole} should have at most {self.about.max_length} {parts}")
        return self.about.convert(value) if self.about.convert else value


def options(table: type) -> tuple[Option, ...]:
    """The options of a table, in its order."""
    return _options(table)


@functools.cache
def _options(table: type) -> tuple[Option, ...]:
    made = []
    for field in fields(table):
        if "about" not in field.metadata:
            continue
        annotation = get_type_hints(table)[field.name]
        several = get_origin(annotation) in (Union, types.UnionType)
        inner = [part for part in get_args(annotation) if part is not types.NoneType] if several else [annotation]
        choices = get_args(inner[0]) if get_origin(inner[0]) is Literal else ()
        kind = str if choices else (get_origin(inner[0]) or inner[0]) if len(inner) == 1 else object
        if kind is list and get_origin(get_args(inner[0])[0]) is dict:
            kind = Objects
        assert kind in _PARSE, f"{field.name}: no way to read {annotation}"
        made.append(
            Option(
                name=field.name,
                annotation=annotation,
                kind=kind,
                default=field.default,
                choices=choices,
                about=field.metadata["about"],
            )
        )
    return tuple(made)


def said(given: Mapping[str, Any]) -> dict[str, Any]:
    """Without what counts as not given: None and blank text."""
    return {
        name: value for name, value in given.items() if (value.strip() if isinstance(value, str) else value is not None)
    }


def read(table: type, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The values given for a table's options, and an entry (`field`, `message`) for each that cannot be used."""
    known = {option.name: option for option in options(table)}
    values, errors = {}, []
    for name in sorted(said(given), key=lambda name: list(known).index(name) if name in known else len(known)):
        try:
            if name not in known:
                raise ValueError("Extra inputs are not permitted")
            values[name] = known[name].read(given[name])
        except ValueError as error:
            errors.append({"field": name, "message": str(error)})
    return values, errors


def unset(option: Option) -> Any:
    """The default as it is shown and compared; None for what has none."""
    return None if option.default is MISSING else option.default


def _invalid(kind: str, why: str = "") -> ValueError:
    return ValueError(f"Input should be a valid {kind}{why}")


def _text(given: Any) -> str:
    if not isinstance(given, str):
        raise _invalid("string")
    return given


def _integer(given: Any) -> int:
    if isinstance(given, str):
        if not re.fullmatch(r"[+-]?[0-9]{1,18}(\.0*)?", given.strip()):
            raise _invalid("integer", ", unable to parse string as an integer")
        return int(given.strip().partition(".")[0])
    whole = given.is_integer() if isinstance(given, float) else isinstance(given, int) and not isinstance(given, bool)
    if not whole:
        raise _invalid("integer")
    return int(given)


def _number(given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        raise _invalid("number")
    try:
        value = float(given)
    except (ValueError, OverflowError):
        raise _invalid("number", ", unable to parse string as a number") from None
    if not math.isfinite(value):
        raise ValueError("Input should be a finite number")
    return value


def _boolean(given: Any) -> bool:
    text = str(given).strip().lower()
    if not isinstance(given, bool | int | str) or text not in _TRUE | _FALSE:
        raise _invalid("boolean", ", unable to interpret input")
    return text in _TRUE


def _json(given: Any) -> dict[str, Any]:
    """What can be written down again as it was read."""
    try:
        value = json.loads(given, object_pairs_hook=_once) if isinstance(given, str) else given
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, TypeError, RecursionError):  # halves of surrogate pairs too
        raise _invalid("JSON object", " whose names come once") from None
    if not isinstance(value, dict):
        raise _invalid("JSON object")
    return value


def _texts(given: Any) -> list[str]:
    """As in JSON, or as text: a JSON array, or with commas or line breaks in between. What is blank is left out."""
    try:
        if isinstance(given, str):
            given = json.loads(given) if given.lstrip().startswith("[") else re.split("[,\n]", given)
        found: list[Any] = [text.strip() for text in given] if isinstance(given, list) else [None]
        "".join(found).encode()
    except (ValueError, TypeError, AttributeError, RecursionError):  # halves of surrogate pairs too
        raise _invalid("list", " of strings") from None
    return [text for text in found if text]


def _objects(given: Any) -> list[dict[str, Any]]:
    try:
        value = json.loads(given, object_pairs_hook=_once) if isinstance(given, str) else given
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, TypeError, RecursionError):
        raise _invalid("JSON array", " of objects whose names come once") from None
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise _invalid("JSON array", " of objects")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError
    return found


_PARSE: Mapping[type, Callable[[Any], Any]] = types.MappingProxyType(
    {
        str: _text,
        int: _integer,
        float: _number,
        bool: _boolean,
        dict: _json,
        list: _texts,
        Objects: _objects,
        object: lambda given: given,
    }
)
