"""The form fields of a job: checked one by one, then against the model; nothing is accepted and ignored."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from api.http.problems import field_errors
from core.audio.tracks import TRACKS
from core.errors import TaskNotSupported, UnknownModel, ValidationFailed
from core.jobs.job import JobParams
from core.transcript.language_tags import is_mapped, language_code
from core.transcript.languages import LANGUAGES
from whisper.models.catalogue import ModelInfo
from whisper.models.store import ModelStatus

PROMPT_CHARACTERS = 2000
"""Longest prompt taken."""

PROMPT_SURELY_HEARD = 600
"""Characters that fit into the 224 tokens the model keeps of a prompt, at a cautious 2.7 characters a token."""


class Models(Protocol):
    """What the form asks of the model store (`whisper.models.store.ModelStore`)."""

    def info(self, name: str) -> ModelInfo:
        """Raises UnknownModel, ModelInvalid."""
        ...

    def list(self) -> tuple[ModelStatus, ...]: ...


class JobForm(BaseModel):
    """The fields beside `file`. An empty field counts as not sent, as HTML forms send it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: (
        Annotated[str, Field(max_length=110, description="See `GET /api/v1/models`; default: WHISPER_MODEL.")] | None
    ) = None
    language: str | None = Field(
        None, description="Code, tag or English name (`de`, `deu`, `de-CH`, `German`); `auto` or nothing: detect it."
    )
    task: Literal["transcribe", "translate"] = Field("transcribe", description="`translate` gives English.")
    prompt: Annotated[str, Field(max_length=PROMPT_CHARACTERS)] | None = Field(
        None, description="Names and words to expect; given to every chunk."
    )
    temperature: float = Field(0.0, ge=0, le=1, allow_inf_nan=False, description="0 is most certain.")
    beam_size: Annotated[int, Field(ge=1, le=8)] | None = Field(None, description="Beam search; 1 or nothing: greedy.")
    word_timestamps: bool = Field(False, description="Also times of words.")
    audio_track: int | str | None = Field(
        None,
        description="Which sound track of a file that has several: its index from 0, or its language (`1`, `de`). Nothing: the default one, or the next that holds speech.",
    )

    @field_validator("language")
    @classmethod
    def _language(cls, value: str | None) -> str | None:
        if value is None or value.strip().lower() == "auto":
            return None
        code = language_code(value)
        if code is None:
            raise ValueError(
                f"not a language Whisper knows; a code such as {', '.join(list(LANGUAGES)[:6])}, a tag such as en-US or an English name"
            )
        return code

    @field_validator("audio_track")
    @classmethod
    def _audio_track(cls, value: int | str | None) -> int | str | None:
        text = str(value).strip() if value is not None else ""
        if not text:
            return None
        if text.isascii() and text.isdigit() and int(text) < TRACKS:
            return int(text)
        if code := language_code(text) or (text.lower() if re.fullmatch("[A-Za-z]{2,3}", text) else None):
            return code  # a file may have tracks in languages that Whisper does not know
        raise ValueError(f"must be an index from 0 to {TRACKS - 1}, or a language")

    @field_validator("prompt")
    @classmethod
    def _prompt(cls, value: str | None) -> str | None:
        if value is not None and any(ord(c) < 32 and c not in "\n\t\r" for c in value):
            raise ValueError("must not hold control characters")
        return value

    @staticmethod
    def read(fields: Mapping[str, str]) -> JobForm:
        """Check the fields, each by itself. Raises ValidationFailed naming every bad one."""
        try:
            return JobForm.model_validate({name: value for name, value in fields.items() if value.strip()})
        except ValidationError as error:
            raise refusal(*field_errors(error.errors())) from None

    def params(self, models: Models, *, default_model: str) -> JobParams:
        """Check the fields against the model. Raises UnknownModel, ModelInvalid, TaskNotSupported, ValidationFailed."""
        name = (self.model or default_model).strip()
        try:
            info = models.info(name)
        except UnknownModel as error:
            raise UnknownModel(error.message, models=[status.info.name for status in models.list()]) from None
        if self.task == "translate" and not info.translates:
            raise TaskNotSupported(
                f"The model {info.name} cannot translate: English-only and turbo models only transcribe."
            )
        if self.language not in (None, "en") and not info.multilingual:
            raise refusal({"field": "language", "message": f"the model {info.name} knows English only"})
        if self.language == "yue" and "large-v3" not in info.name:
            raise refusal(
                {"field": "language", "message": f"the model {info.name} does not know Cantonese; large-v3 does"}
            )
        return JobParams(
            model=info.name,
            task=self.task,
            language=self.language,
            prompt=self.prompt,
            temperature=self.temperature,
            beam_size=None if self.beam_size == 1 else self.beam_size,
            word_timestamps=self.word_timestamps,
            audio_track=self.audio_track,
        )


def refusal(*errors: dict[str, str]) -> ValidationFailed:
    """A ValidationFailed that names fields."""
    detail = "; ".join(f"{error['field']}: {error['message']}" for error in errors)
    return ValidationFailed(detail, errors=list(errors))


def warnings_of(params: JobParams, *, language: str | None) -> tuple[dict[str, str], ...]:
    """What the user should know about parameters that are taken as they are. language: as it was sent"""
    found = []
    if params.prompt and len(params.prompt) > PROMPT_SURELY_HEARD:
        message = "The model keeps only the last 224 tokens of a prompt; the beginning of this one may not be heard."
        found.append({"code": "prompt_long", "message": message})
    if language and params.language and is_mapped(language):
        message = f"The language {language.strip()} was taken as {params.language} ({LANGUAGES[params.language]})."
        found.append({"code": "language_mapped", "message": message})
    return tuple(found)


def fingerprint(sha256: str, params: JobParams) -> str:
    """Identity of a submission for Idempotency-Key: the file's bytes and the normalised parameters."""
    return hashlib.sha256(json.dumps([sha256, params.to_dict()], sort_keys=True).encode()).hexdigest()
