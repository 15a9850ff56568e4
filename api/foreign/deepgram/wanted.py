"""What a client of Deepgram's wants of a file."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from api.foreign.deepgram.asked import REFUSED, UNUSED, Common, ListenQuery, common_of, query_of
from core.errors import refusal
from core.options import about


@dataclass(frozen=True, kw_only=True)
class FileQuery(ListenQuery):
    """The parameters of `POST /v1/listen`."""

    detect_language: str | None = field(
        default=None, metadata=about("true, or languages to choose from, which are named in the warning.")
    )
    diarize: bool = field(default=False, metadata=about("Words, paragraphs and utterances say who speaks."))
    diarize_model: str | None = field(default=None, metadata=about("As diarize; there is one."))
    multichannel: bool = field(default=False, metadata=about("Each channel by itself: `channels=split`."))
    utterances: bool = field(default=False, metadata=about("Also the utterances, in `results.utterances`."))
    utt_split: float = field(default=0.8, metadata=about("Seconds of silence between two of them.", ge=0, le=60))
    paragraphs: bool = field(default=False, metadata=about("Also the text in paragraphs."))
    encoding: str | None = field(default=None, metadata=UNUSED)
    filler_words: bool = field(default=False, metadata=UNUSED)
    measurements: bool = field(default=False, metadata=UNUSED)
    summarize: str | None = field(default=None, metadata=REFUSED)
    topics: bool = field(default=False, metadata=REFUSED)
    intents: bool = field(default=False, metadata=REFUSED)
    sentiment: bool = field(default=False, metadata=REFUSED)
    custom_topic: str | None = field(default=None, metadata=REFUSED)
    custom_topic_mode: str | None = field(default=None, metadata=REFUSED)
    custom_intent: str | None = field(default=None, metadata=REFUSED)
    custom_intent_mode: str | None = field(default=None, metadata=REFUSED)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One request. options: of the job, as `core.submission` takes them"""

    query: FileQuery
    common: Common
    options: Mapping[str, str]
    detect: bool

    @property
    def paragraphs(self) -> bool:
        return self.query.paragraphs or self.query.smart_format

    @property
    def diarize(self) -> bool:
        return self.query.diarize or self.query.diarize_model is not None


def wanted(items: Sequence[tuple[str, str]], *, here: Collection[str]) -> Wanted:
    """Read the query. Raises ValidationFailed, Unsupported. here: names of this service's models"""
    # `summarize=false` and the like ask for nothing
    query = query_of(FileQuery, [(name, value) for name, value in items if (name, value) != ("summarize", "false")])
    asked = (query.detect_language or "").lower()
    detect = asked not in ("", "false")
    if detect and query.language:
        raise refusal({"field": "detect_language", "message": "not beside language"})
    common = common_of(query, here=here, detected=detect)
    if detect and asked != "true":
        common = Common(
            job=common.job,
            tags=common.tags,
            extra=common.extra,
            warnings=[*common.warnings, ("detect_language", "any language may be detected")],
        )
    options = {name: json.dumps(value) if isinstance(value, list) else value for name, value in common.job.items()}
    options["word_timestamps"] = "true"
    if query.diarize or query.diarize_model is not None:
        options["diarize"] = "true"
    if query.multichannel:
        options["channels"] = "split"
    return Wanted(query=query, common=common, options=options, detect=detect)
