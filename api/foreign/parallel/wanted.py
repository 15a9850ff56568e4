"""What a client of `/api/v1/parallel` asks for, as options of a job: each field is honoured, refused or named in a warning."""

from __future__ import annotations

from dataclasses import dataclass, field

from api.foreign.tables import unsupported, values_of
from api.upload.received import Fields, Repeated
from core.jobs.params import JobParams
from core.options import about, options


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
    enhanced_alignment: bool = field(
        default=False,
        metadata=about("Times of words by alignment (`align`); without it by the model, and the warnings say so."),
    )
    suppress_numerals: bool = field(default=False, metadata=about("Not done here: refused."))


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One request."""

    options: dict[str, str]
    warnings: list[str]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads forms. table: what may be asked of a job"""

    table: type[JobParams]

    def can(self, name: str) -> bool:
        """Whether there is such an option."""
        return name in {option.name for option in options(self.table)}

    def __call__(self, fields: Fields, _: Repeated) -> Wanted:
        """Raises ValidationFailed, Unsupported."""
        form = values_of(ParallelForm, fields)
        if form.suppress_numerals:
            raise unsupported("suppress_numerals", "this service does not do that")
        given = {"language": form.language, "model": form.whisper_model}
        warnings = []
        if self.can("diarize"):  # what that interface is for
            given["diarize"] = "true"
        if form.source_separation:  # clients that have always sent it get their transcript all the same
            warnings.append("source_separation: enhance=vocals is not available here; the sound was taken as it is")
        if form.enhanced_alignment:
            given["word_timestamps"] = "true"
            if self.can("align"):
                given["align"] = "true"
            else:
                warnings.append("enhanced_alignment: the times of words are the model's own")
        return Wanted(options={name: value for name, value in given.items() if value}, warnings=warnings)
