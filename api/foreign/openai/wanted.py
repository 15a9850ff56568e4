"""What a client of OpenAI's asks for, as options of a job. Each parameter is honoured or refused."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from api.upload.form import Form
from core.errors import refusal
from core.jobs.known_speakers import FIELD_BYTES
from core.jobs.params import Task
from core.transcript.formats import FormatName

NAMES, REFERENCES = "known_speaker_names", "known_speaker_references"
KNOWN = (NAMES, f"{NAMES}[]", REFERENCES, f"{REFERENCES}[]")
MOST_KNOWN = 4
"""OpenAI takes no more."""

FORM = Form(
    fields=(
        "model",
        "language",
        "prompt",
        "response_format",
        "temperature",
        "stream",
        "timestamp_granularities",
        "timestamp_granularities[]",
        "include",
        "include[]",
        "chunking_strategy",
        "chunking_strategy[type]",
        *KNOWN,
    ),
    repeated=frozenset({"timestamp_granularities", "timestamp_granularities[]", "include", "include[]", *KNOWN}),
    large={name: FIELD_BYTES for name in KNOWN if "references" in name},
)

OURS = re.compile(
    r"whisper-1|gpt-realtime-whisper|gpt-((4o|4o-mini|live)-)?transcribe(?P<diarize>-diarize)?(-\d{4}-\d\d-\d\d)?",
    re.ASCII,
)
"""OpenAI's names, which mean the service's own model."""

FORMATS: Mapping[str, FormatName] = MappingProxyType(
    {
        "json": "json",
        "text": "txt",
        "srt": "srt",
        "vtt": "vtt",
        "verbose_json": "verbose_json",
        "diarized_json": "diarized_json",
    }
)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One request."""

    #: for the job, as `core.submission` takes them
    options: Mapping[str, str]
    #: one of FORMATS
    response_format: str
    stream: bool
    segments: bool
    logprobs: bool
    #: for the header X-Parascribe-Warning
    warning: str | None


def wanted(fields: Mapping[str, str], repeated: Mapping[str, list[str]], task: Task) -> Wanted:
    """Read a form. Raises ValidationFailed."""
    model = fields.get("model", "").strip()
    shape = fields.get("response_format") or "json"
    if shape not in FORMATS:
        raise refusal({"field": "response_format", "message": f"must be one of {', '.join(FORMATS)}"})
    granularities = _several(repeated, "timestamp_granularities", {"word", "segment"})
    if granularities and shape != "verbose_json":
        raise refusal({"field": "timestamp_granularities", "message": "needs response_format=verbose_json"})
    include = _several(repeated, "include", {"logprobs"})
    if include and shape != "json":
        raise refusal({"field": "include", "message": "needs response_format=json"})
    stream = _flag(fields.get("stream", ""))
    if stream and shape not in ("json", "text"):
        raise refusal({"field": "stream", "message": "needs response_format=json or text"})
    chunking = fields.get("chunking_strategy[type]") or fields.get("chunking_strategy") or "auto"
    if chunking not in ("auto", "server_vad"):
        raise refusal({"field": "chunking_strategy", "message": "must be auto or server_vad; it has no settings here"})
    words = "word" in granularities or bool(include)
    theirs = OURS.fullmatch(model)
    options = {name: fields[name] for name in ("language", "prompt", "temperature") if fields.get(name)}
    options |= {"task": task} | ({"model": model} if model and not theirs else {})
    options |= {"word_timestamps": "true"} if words else {}
    if shape == "diarized_json" or (theirs and theirs["diarize"]):
        options |= {"diarize": "true"}
    options |= _known_speakers(repeated, diarize="diarize" in options)
    return Wanted(
        options=options,
        response_format=shape,
        stream=stream,
        segments=not granularities or "segment" in granularities,
        logprobs=bool(include),
        warning=f"{model} is not here; the service's own model was used" if theirs else None,
    )


def _known_speakers(repeated: Mapping[str, list[str]], *, diarize: bool) -> dict[str, str]:
    """Names, and a sample of each one's voice as a data URL."""
    names, references = (repeated.get(name, []) + repeated.get(f"{name}[]", []) for name in (NAMES, REFERENCES))
    if not names and not references:
        return {}
    if not diarize:
        raise refusal({"field": NAMES, "message": "needs a model that diarizes, or response_format=diarized_json"})
    if len(names) != len(references):
        raise refusal({"field": REFERENCES, "message": f"{len(references)} for {len(names)} names: one for each"})
    if len(names) > MOST_KNOWN:
        raise refusal({"field": NAMES, "message": f"at most {MOST_KNOWN}"})
    known = [{"name": name, "sample": sample} for name, sample in zip(names, references, strict=True)]
    return {"known_speakers": json.dumps(known)}


def _several(repeated: Mapping[str, list[str]], name: str, known: set[str]) -> set[str]:
    found = {value.strip() for key in (name, f"{name}[]") for value in repeated.get(key, ())}
    if unknown := found - known:
        message = f"must be among {', '.join(sorted(known))}, not {', '.join(sorted(unknown))}"
        raise refusal({"field": name, "message": message})
    return found


def _flag(value: str) -> bool:
    found = {"": False, "false": False, "0": False, "true": True, "1": True}.get(value.strip().lower())
    if found is None:
        raise refusal({"field": "stream", "message": "must be true or false"})
    return found
