"""Settings of translation into other languages."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode

from core.config.units import Folder, Seconds

Provider = Literal["ctranslate2", "libretranslate", "openai", "whisper"]
PROVIDERS: tuple[Provider, ...] = ("ctranslate2", "libretranslate", "openai", "whisper")


class TranslationSettings(BaseSettings):
    """The fourth part of `Settings`."""

    # --- translation
    translation_providers: Annotated[list[Provider], NoDecode] = Field(
        default_factory=list,
        description="Who translates (option translate_to), the first that can: ctranslate2, libretranslate, openai, whisper (to English only, by the speech model itself). Empty: all that are set up, in this order.",
    )
    translation_models_dir: Folder | None = Field(
        None,
        description="Folder with a CTranslate2 model for each pair of languages, such as de-en/ (docs/how-to/translate.md).",
    )
    libretranslate_url: str = Field("", description="Address of a LibreTranslate service.")
    libretranslate_api_key: SecretStr | None = Field(None, description="Its key, if it wants one.")
    translation_openai_url: str = Field(
        "",
        description="Address of a service with OpenAI's chat completions, up to and with /v1; a local one, for example.",
    )
    translation_openai_model: str = Field("", description="Model to ask there.")
    translation_openai_api_key: SecretStr | None = Field(None, description="Its key, if it wants one.")
    translation_timeout: Seconds = Field(
        60.0, ge=1, le=600, description="What one request to a service that translates may take."
    )

    @field_validator("translation_providers", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value

    @field_validator("libretranslate_url", "translation_openai_url")
    @classmethod
    def _address(cls, value: str) -> str:
        address = value.strip().rstrip("/")
        if address and not address.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return address
