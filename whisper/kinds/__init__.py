"""The kinds of models that engine hosts can serve, one file each."""

from __future__ import annotations

import importlib

from whisper.wire.kind import Kind

KINDS = {
    "whisper": "whisper.kinds.whisper:WhisperKind",
    "speakers": "whisper.kinds.speakers:SpeakersKind",
    "denoise": "whisper.kinds.denoise:DenoiseKind",
    "translate": "whisper.kinds.translate:TranslateKind",
}
"""Name to where it is: imported by those alone that run it."""


def load_kind(name: str) -> Kind:
    """A kind by its name, or by `module:attribute`. Raises ValueError when there is none."""
    module, _, attribute = KINDS.get(name, name).partition(":")
    try:
        kind: Kind = getattr(importlib.import_module(module), attribute)()
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"unknown kind of model: {name}") from error
    return kind


__all__ = ["load_kind", "whisper"]
