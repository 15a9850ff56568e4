"""Who translates, from the settings. It loads nothing that is heavy: API processes ask it who could."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import SecretStr

from core.config.settings import Settings
from core.config.translation import PROVIDERS, Provider
from core.errors import ModelInvalid
from parascribe.run.wiring.engine import manager_socket
from whisper.engine.host_client import HostClient
from whisper.models.translation import TranslationModel, translation_models
from whisper.translation.chat import ChatTranslator
from whisper.translation.libretranslate import LibreTranslate
from whisper.translation.resident import ResidentTranslator, installed
from whisper.translation.router import SPOKEN, Choice, Translators
from whisper.translation.web import PAUSES
from whisper.types import Urgency

LIVE_PAUSES = (0.5, 1.0)
"""Seconds before each further try for a stream, which goes on meanwhile."""


def open_translators(settings: Settings, runtime: Path | None, *, live: bool = False) -> Translators:
    """Those of this installation, in their order.

    runtime: folder of the engine manager; None: only `can` is asked, as by an API whose consumers are elsewhere
    live: for streams: before jobs, and with less patience
    """
    order = [made for name in wanted(settings) if (made := _made(settings, name, runtime, live=live)) is not None]
    version = [f"{name}:{_what(settings, name)}" for name in wanted(settings)]
    return Translators(order, version="; ".join(version))


def wanted(settings: Settings) -> Sequence[Provider]:
    """The providers that are asked for by name, or else all there are."""
    return tuple(dict.fromkeys(settings.translation_providers)) or PROVIDERS


def missing(settings: Settings, name: Provider) -> str | None:
    """What is missing for a provider; None: nothing."""
    match name:
        case "ctranslate2":
            if settings.whisper_executable is not None:
                return "it needs the resident engine: not with WHISPER_EXECUTABLE"
            if settings.translation_models_dir is None:
                return "TRANSLATION_MODELS_DIR is not set"
            if not models(settings):
                return f"no model in {settings.translation_models_dir} can be used"
            return None if installed() else "pip install 'parascribe[translate]'"
        case "libretranslate":
            return None if settings.libretranslate_url else "LIBRETRANSLATE_URL is not set"
        case "openai":
            return None if settings.translation_openai_url else "TRANSLATION_OPENAI_URL is not set"
        case "whisper":
            return None


def models(settings: Settings) -> list[TranslationModel]:
    found = translation_models(settings.translation_models_dir)
    return [one for one in found if not isinstance(one, ModelInvalid)]


def _made(settings: Settings, name: Provider, runtime: Path | None, *, live: bool) -> Choice | None:
    if missing(settings, name):
        return None
    seconds, pauses = settings.translation_timeout, LIVE_PAUSES if live else PAUSES
    match name:
        case "ctranslate2":
            client = HostClient(manager_socket(runtime or settings.work_path))
            return ResidentTranslator(client, models(settings), urgency=Urgency.LIVE if live else Urgency.JOB)
        case "libretranslate":
            key = _secret(settings.libretranslate_api_key)
            return LibreTranslate(settings.libretranslate_url, key, seconds=seconds, pauses=pauses)
        case "openai":
            url, model = settings.translation_openai_url, settings.translation_openai_model
            key = _secret(settings.translation_openai_api_key)
            return ChatTranslator(url, model, key, seconds=seconds, pauses=pauses)
        case "whisper":
            return SPOKEN


def _what(settings: Settings, name: Provider) -> str:
    """What of a provider changes its translations."""
    match name:
        case "ctranslate2":
            return ",".join(f"{one.source}-{one.target}={one.name}" for one in models(settings))
        case "libretranslate":
            return settings.libretranslate_url
        case "openai":
            return f"{settings.translation_openai_url} {settings.translation_openai_model}"
        case "whisper":
            return ""


def _secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value else None
