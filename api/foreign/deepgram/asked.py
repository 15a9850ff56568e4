"""What files and streams have in common among the parameters of `/v1/listen`: each is honoured, refused or named in a warning."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from api.foreign.tables import unsupported, values_of
from core.errors import refusal
from core.options import about

THEIRS = re.compile(
    r"(nova(-[23])?|enhanced|base|flux|whisper)(-[a-z]+)*|general|meeting|phonecall|finance|conversationalai|voicemail|video"
    r"|custom"
)
"""Deepgram's names, which mean the service's own model, unless it has one of that name."""

REPEATED = frozenset({"keyterm", "keywords", "language_hint", "tag", "extra", "search", "replace", "redact"})
"""May come several times."""

UNUSED = about("Named in the warning where it is asked for.")
REFUSED = about("Refused.")

T = TypeVar("T", bound="ListenQuery")


@dataclass(frozen=True, kw_only=True)
class ListenQuery:
    """The parameters of both."""

    model: str | None = field(default=None, metadata=about("A model of this service, or one of Deepgram's names."))
    language: str | None = field(default=None, metadata=about("A code, or `multi`: detected. Its default is English."))
    keyterm: list[str] | None = field(default=None, metadata=about("Words to expect: the option `vocabulary`."))
    keywords: list[str] | None = field(default=None, metadata=about("Likewise; weights are named in the warning."))
    punctuate: bool | None = field(default=None, metadata=about("There is punctuation in any case."))
    smart_format: bool = field(default=False, metadata=about("Written as the model does; of files also paragraphs."))
    tag: list[str] | None = field(default=None, metadata=about("Comes back in `metadata.tags`."))
    extra: list[str] | None = field(default=None, metadata=about("`key:value`: comes back in `metadata.extra`."))
    mip_opt_out: bool = field(default=False, metadata=about("Nothing leaves this service in any case."))
    version: str | None = field(default=None, metadata=about("A model has one version: `latest`."))
    language_hint: list[str] | None = field(default=None, metadata=UNUSED)
    profanity_filter: bool = field(default=False, metadata=UNUSED)
    numerals: bool = field(default=False, metadata=UNUSED)
    dictation: bool = field(default=False, metadata=UNUSED)
    callback: str | None = field(default=None, metadata=REFUSED)
    callback_method: str | None = field(default=None, metadata=REFUSED)
    detect_entities: bool = field(default=False, metadata=REFUSED)
    redact: list[str] | None = field(default=None, metadata=REFUSED)
    replace: list[str] | None = field(default=None, metadata=REFUSED)
    search: list[str] | None = field(default=None, metadata=REFUSED)


@dataclass(frozen=True, kw_only=True)
class Common:
    """What both make of them. job: options; warnings: by parameter, in words"""

    job: Mapping[str, Any]
    warnings: Sequence[tuple[str, str]]
    tags: Sequence[str]
    extra: Mapping[str, str]

    @property
    def metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = {"tags": list(self.tags)} if self.tags else {}
        found |= {"extra": dict(self.extra)} if self.extra else {}
        if self.warnings:
            found["warnings"] = [
                {"parameter": name, "type": "unsupported_value", "message": words} for name, words in self.warnings
            ]
        return found

    @property
    def told(self) -> list[str]:
        """For the header X-Parascribe-Warning: plain ASCII."""
        return [f"{name}: {words}" for name, words in self.warnings]


def query_of(table: type[T], items: Sequence[tuple[str, str]]) -> T:
    """A query as it came. Raises ValidationFailed, Unsupported."""
    given: dict[str, Any] = {}
    for name, value in items:
        if name in REPEATED:
            given.setdefault(name, []).append(value)
        elif name in given:
            raise refusal({"field": name, "message": "given more than once"})
        else:
            given[name] = value
    query = values_of(table, given)
    for one in fields(table):
        if one.metadata == REFUSED and getattr(query, one.name):
            raise unsupported(one.name, "this service does not do that")
    return query


def common_of(query: ListenQuery, *, here: Collection[str], detected: bool = False) -> Common:
    """here: names of this service's models; detected: whether the language is to be, where none is given. Raises ValidationFailed."""
    warnings = [
        (one.name, "not done")
        for one in fields(query)
        if one.metadata == UNUSED and getattr(query, one.name) not in (None, False)
    ]
    model = query.model if query.model in here or not THEIRS.fullmatch(query.model or "") else None
    if query.model and model is None:
        warnings.append(("model", f"{query.model} is not here; the service's own model was used"))
    if query.punctuate is False and not query.smart_format:
        warnings.append(("punctuate", "there is punctuation in any case"))
    if query.version not in (None, "latest"):
        warnings.append(("version", "a model has one version here"))
    words, weighted = list(query.keyterm or ()), False
    for keyword in query.keywords or ():
        word, _, weight = keyword.rpartition(":")
        is_weight = bool(word) and re.fullmatch(r"-?[0-9.]+", weight) is not None
        words.append(word if is_weight else keyword)
        weighted = weighted or is_weight
    if weighted:
        warnings.append(("keywords", "their weights are not used"))
    language = query.language or ("auto" if detected else "en")
    job = {"model": model, "language": "auto" if language.lower() == "multi" else language, "vocabulary": words or None}
    return Common(
        job={name: value for name, value in job.items() if value},
        warnings=warnings,
        tags=query.tag or (),
        extra=_extra(query.extra or ()),
    )


def _extra(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for one in given:
        name, colon, value = one.partition(":")
        if not colon:
            raise refusal({"field": "extra", "message": "Input should be key:value"})
        found[name] = value
    return found
