"""What was asked for, against the table of options and against the model: nothing is accepted and ignored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from core.errors import NotAvailable, TaskNotSupported, UnknownModel, refusal
from core.jobs.job import Source
from core.jobs.params import JobParams
from core.options import read
from core.transcript.language_tags import is_mapped
from core.transcript.languages import LANGUAGES, LanguagePairs

P = TypeVar("P", bound=JobParams)

HINTS = ("num_speakers", "min_speakers", "max_speakers")

PROMPT_SURELY_HEARD = 600
"""Characters that fit into the 224 tokens the model keeps of a prompt, at a cautious 2.7 characters a token."""


class ModelFacts(Protocol):
    """What a job's options depend on (`whisper.models.catalogue.ModelInfo`)."""

    @property
    def name(self) -> str: ...
    @property
    def multilingual(self) -> bool: ...
    @property
    def translates(self) -> bool: ...


class ModelEntry(Protocol):
    """One model of a list (`whisper.models.store.ModelStatus`)."""

    @property
    def info(self) -> ModelFacts: ...


class Translations(Protocol):
    """Who translates here (`whisper.translation.router.Translators`)."""

    @property
    def names(self) -> Sequence[str]: ...

    def can(self, source: str | None, target: str, *, spoken: bool) -> bool:
        """source: None = not known yet; spoken: whether the model that hears the speech can (ModelFacts.translates)"""
        ...

    def offers(self) -> Sequence[tuple[str, Sequence[LanguagePairs] | None]]:
        """By name of each, in their order, what it can do; None: it has not said yet. Told at once: nobody is asked for it."""
        ...


class Models(Protocol):
    """What is asked of the model store (`whisper.models.store.ModelStore`)."""

    def info(self, name: str) -> ModelFacts:
        """Raises UnknownModel, ModelInvalid."""
        ...

    def list(self) -> Sequence[ModelEntry]: ...


def values_of(table: type[JobParams], given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given, each checked by itself. Raises ValidationFailed naming every bad one."""
    values, errors = read(table, given)
    if errors:
        raise refusal(*errors)
    return values


def check(
    table: type[P],
    given: Mapping[str, Any],
    models: Models,
    *,
    default_model: str,
    defaults: Mapping[str, Any] = MappingProxyType({}),
    enhancements: Collection[str] | None = None,
    translations: Translations | None = None,
) -> P:
    """The options as a job has them.

    given: by name, as text or as in JSON; what is None or blank counts as not given
    defaults: what this installation takes where nothing is given, each checked by itself
    enhancements: values of `enhance` that are to be had here; None: that is not known
    translations: who translates here; None: that is not known
    Raises UnknownModel, ModelInvalid, TaskNotSupported, NotAvailable, ValidationFailed.
    """
    asked = values_of(table, given)
    # who says something on the number of speakers says all of it; what is asked for goes before what it cannot be had with
    yields = [*HINTS] if not asked.keys().isdisjoint(HINTS) else []
    yields += ["enhance", "enhance_for"] if asked.get("channels") == "split" else []
    yields += ["channels"] if asked.get("enhance", "none") != "none" else []
    values = {**{name: value for name, value in defaults.items() if name not in yields}, **asked}
    try:
        info = models.info(values.get("model", default_model).strip())
    except UnknownModel as error:
        raise UnknownModel(error.message, models=[status.info.name for status in models.list()]) from None
    params = table(**values | {"model": info.name})
    if params.task == "translate" and not info.translates:
        raise TaskNotSupported(
            f"The model {info.name} cannot translate: English-only and turbo models only transcribe."
        )
    if params.language not in (None, "en") and not info.multilingual:
        raise refusal({"field": "language", "message": f"the model {info.name} knows English only"})
    if params.language == "yue" and "large-v3" not in info.name:
        raise refusal({"field": "language", "message": f"the model {info.name} does not know Cantonese; large-v3 does"})
    if asked.get("align") and params.task == "translate":
        raise refusal({"field": "align", "message": "is for words as they were spoken, not for those of a translation"})
    if problems := _speaker_problems(params, asked):
        raise refusal(*problems)
    _check_enhance(params, asked, enhancements)
    _check_translation(params, asked, info, translations)
    return params


def _speaker_problems(params: JobParams, asked: Mapping[str, Any]) -> list[dict[str, str]]:
    """Hints on speakers that were asked for and contradict each other, or that nobody would look at."""
    hints = [name for name in HINTS if asked.get(name) is not None]
    if not params.diarize:
        asked_for = hints + ["known_speakers"] * bool(asked.get("known_speakers"))
        return [{"field": name, "message": "means something with diarize=true only"} for name in asked_for]
    if "num_speakers" in hints:
        return [{"field": name, "message": "is not taken beside num_speakers"} for name in hints[1:]]
    least, most = params.min_speakers, params.max_speakers
    if hints and least is not None and most is not None and least > most:
        return [{"field": "min_speakers", "message": f"Input should be at most max_speakers ({most})"}]
    return []


def _check_enhance(params: JobParams, asked: Mapping[str, Any], there: Collection[str] | None) -> None:
    """What is this installation's own default and not to be had costs its jobs a warning, as a consumer's failure does."""
    if params.enhance == "none" and "enhance_for" in asked:
        raise refusal({"field": "enhance_for", "message": "means something with enhance=denoise only"})
    if "enhance" in asked and params.enhance != "none" and params.channels == "split":
        raise refusal({"field": "enhance", "message": "is for mixed sound: not with channels=split"})
    if params.enhance == "vocals":
        raise NotAvailable(
            "enhance=vocals needs a network that separates voices from music, and none with weights under a licence that "
            "allows every use is known; enhance=denoise takes noise out."
        )
    if "enhance" in asked and params.enhance != "none" and there is not None and params.enhance not in there:
        raise NotAvailable(
            f"No consumer can do enhance={params.enhance}: where they run, pip install 'parascribe[enhance]' "
            "(and without WHISPER_EXECUTABLE)."
        )


def _check_translation(
    params: JobParams, asked: Mapping[str, Any], model: ModelFacts, there: Translations | None
) -> None:
    """As with `enhance`: an installation's own default that cannot be had costs its jobs a warning."""
    source, target = params.language, asked.get("translate_to")
    if target is None:
        return
    if params.task == "translate":
        raise refusal({"field": "translate_to", "message": "is beside what was said: not with task=translate"})
    if source == target:
        raise refusal({"field": "translate_to", "message": "is the language that is spoken"})
    if there is None or there.can(source, target, spoken=model.translates):
        return
    pair = f"{f'from {LANGUAGES[source]} ' if source else ''}to {LANGUAGES[target]}"
    names = [name for name in there.names if name != "whisper"]
    why = (
        f"{', '.join(names)} cannot."
        if names
        else "nothing is set up but Whisper itself, which translates to English alone, with multilingual models other than turbo."
    )
    raise NotAvailable(f"Nothing here translates {pair}: {why} See docs/how-to/translate.md.")


def warnings_of(params: JobParams, given: Mapping[str, Any]) -> tuple[dict[str, str], ...]:
    """What the user should know about options that are taken as they are. given: as they were sent"""
    found = []
    if params.prompt and len(params.prompt) > PROMPT_SURELY_HEARD:
        message = "The model keeps only the last 224 tokens of a prompt; the beginning of this one may not be heard."
        found.append({"code": "prompt_long", "message": message})
    language = given.get("language")
    if language and params.language and is_mapped(language):
        message = f"The language {language.strip()} was taken as {params.language} ({LANGUAGES[params.language]})."
        found.append({"code": "language_mapped", "message": message})
    return tuple(found)


def identity_of(source: Source) -> str:
    """What makes one file another: its bytes, or where they are to be brought from."""
    return source.origin.to_text() if source.origin else source.sha256


def fingerprint(file: str, params: JobParams, batch: str | None = None) -> str:
    """Identity of a submission for Idempotency-Key: the file (`identity_of`) and the normalised options; the id of its batch."""
    said = [file, params.to_dict(), *([batch] if batch else [])]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def batch_fingerprint(files: Sequence[tuple[str, JobParams]], params: JobParams, own: JobParams) -> str:
    """As `fingerprint`, of a batch that is asked for with these files, each with its options.

    own: `metadata` and `callback_url` of the batch itself
    """
    named = [file if its == params else [file, its.to_dict()] for file, its in files]
    said = [named, params.to_dict(), own.to_dict()]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
