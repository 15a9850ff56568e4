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
        metadata=about("Listen to the voices alone (`enhance=vocals`); named in the warnings where it is not done."),
    )
    enhanced_alignment: bool = field(default=False, metadata=about("Exact times of words (`align`)."))
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
        if form.source_separation:
            if self.can("enhance"):
                given["enhance"] = "vocals"
            else:
                warnings.append(
                    "source_separation: voices are not separated by this service; the sound was taken as it is"
                )
        if form.enhanced_alignment:
            given["align"] = "true"
        return Wanted(options={name: value for name, value in given.items() if value}, warnings=warnings)
