"""What a client of `/api/v1/parallel` asks for, as options of a job: each field is honoured, refused or named in a warning."""

from __future__ import annotations

from dataclasses import dataclass, field

from api.foreign.tables import unsupported, values_of
from api.upload.received import Fields, Repeated
from core.options import about


@dataclass(frozen=True, kw_only=True)
class ParallelForm:
    """The fields beside the file, or the files."""

    language: str | None = field(default=None, metadata=about("Code or English name; nothing: detected."))
    whisper_model: str | None = field(
        default=None, metadata=about("Name of a model; nothing: the service's own.", example="medium.en")
    )
    source_separation: bool = field(
        default=False,
        metadata=about("Listen to the voices alone (`enhance=vocals`): not available here, and the warnings say so."),
    )
    enhanced_alignment: bool = field(default=False, metadata=about("Exact times of words (`align`)."))
    suppress_numerals: bool = field(default=False, metadata=about("Not done here: refused."))


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One request."""

    options: dict[str, str]
    warnings: list[str]


def wanted(fields: Fields, _: Repeated) -> Wanted:
    """Read a form. Raises ValidationFailed, Unsupported."""
    form = values_of(ParallelForm, fields)
    if form.suppress_numerals:
        raise unsupported("suppress_numerals", "this service does not do that")
    given = {
        "language": form.language,
        "model": form.whisper_model,
        "diarize": "true",  # what that interface is for
        "align": "true" if form.enhanced_alignment else None,
    }
    warnings = []
    if form.source_separation:  # clients that have always sent it get their transcript all the same
        warnings.append("source_separation: enhance=vocals is not available here; the sound was taken as it is")
    return Wanted(options={name: value for name, value in given.items() if value}, warnings=warnings)
