"""Languages as people name them: codes, English names, and a few other names, as openai-whisper takes them."""

from __future__ import annotations

from types import MappingProxyType

from core.languages import LANGUAGES

ALIASES = MappingProxyType({
    "burmese": "my", "valencian": "ca", "flemish": "nl", "haitian": "ht", "letzeburgesch": "lb", "pushto": "ps",
    "panjabi": "pa", "moldavian": "ro", "moldovan": "ro", "sinhalese": "si", "castilian": "es", "mandarin": "zh",
    "jv": "jw",
})  # fmt: skip
"""From openai-whisper's `tokenizer.py` (TO_LANGUAGE_CODE); `jv` is the ISO code of what Whisper calls `jw`."""

_CODES = MappingProxyType({name: code for code, name in LANGUAGES.items()} | dict(ALIASES))


def language_code(spoken: str) -> str | None:
    """The code of a language given as code or English name in any case (`de`, `German`), or None if unknown."""
    key = spoken.strip().lower()
    return key if key in LANGUAGES else _CODES.get(key)
