"""Translations by a LibreTranslate service."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import TranslationFailed
from core.system.cancel import Cancel
from core.transcript.languages import LANGUAGES, LanguagePairs, grouped
from whisper.translation.texts import translated
from whisper.translation.web import PAUSES, Web

BATCH = 50
"""Texts of one request."""
KNOWN_SECONDS = 300.0
"""How long it is believed what the service says of its languages; if it says nothing, a tenth of that."""
_ASK_SECONDS = 3.0

_OTHER_NAMES = {"zh": ("zh-Hans", "zh-CN"), "no": ("nb",), "pt": ("pt-PT", "pt-BR"), "tl": ("fil",), "he": ("iw",)}
"""What ISO 639-1 codes are called there in some versions."""


class LibreTranslate:
    """url: without a slash at the end; key: None where the service wants none"""

    name = "libretranslate"

    def __init__(self, url: str, key: str | None, *, seconds: float, pauses: Sequence[float] = PAUSES) -> None:
        self._web = Web("LibreTranslate", url, headers={}, seconds=seconds, pauses=pauses)
        self._key = key
        self._lock, self._looking = threading.Lock(), threading.Lock()
        self._languages: Mapping[str, frozenset[str]] | None = None
        self._pairs: Sequence[LanguagePairs] | None = None
        self._until = 0.0

    def can(self, source: str | None, target: str) -> bool:
        """As the service says; while it says nothing: yes, for it may be there by the time it is needed."""
        languages = self._known()
        if languages is None:
            return True
        if source is None:
            return any(_name(target, targets) for targets in languages.values())
        there = _name(source, languages)
        return there is not None and _name(target, languages[there]) is not None

    def pairs(self) -> Sequence[LanguagePairs] | None:
        """As the service said last. Where that is not new it is asked again, beside this."""
        if time.monotonic() >= self._until and self._looking.acquire(blocking=False):
            threading.Thread(target=self._look, name="languages of LibreTranslate", daemon=True).start()
        return self._pairs

    def _look(self) -> None:
        try:
            self._known()
        finally:
            self._looking.release()

    def translate(
        self,
        texts: Sequence[str],
        *,
        source: str,
        target: str,
        before: Sequence[str] = (),
        cancel: Cancel | None = None,
    ) -> list[str]:
        languages = self._known() or {}
        there = _name(source, languages) or source
        pair = {"source": there, "target": _name(target, languages.get(there, ())) or target}

        def ask(wanted: list[str]) -> list[object]:
            return [
                one
                for first in range(0, len(wanted), BATCH)
                for one in self._some(wanted[first : first + BATCH], pair, cancel)
            ]

        return translated(texts, ask)

    def _some(self, texts: list[str], pair: Mapping[str, str], cancel: Cancel | None) -> list[object]:
        found = self._ask(texts, pair, cancel)
        if isinstance(found, list) and len(found) == len(texts):
            return found
        if len(texts) == 1:
            return [found]
        # versions that take no arrays answer with one text, or with something else
        return [self._ask(text, pair, cancel) for text in texts]

    def _ask(self, what: str | list[str], pair: Mapping[str, str], cancel: Cancel | None) -> object:
        body: dict[str, Any] = {"q": what, **pair, "format": "text"}
        if self._key:
            body["api_key"] = self._key
        answer = self._web.post("/translate", body, cancel)
        return answer.get("translatedText") if isinstance(answer, dict) else None

    def _known(self) -> Mapping[str, frozenset[str]] | None:
        """By language, what it is translated to; None: not known at the moment."""
        with self._lock:
            if time.monotonic() >= self._until:
                try:
                    self._languages = _languages(self._web.get("/languages", seconds=_ASK_SECONDS))
                except TranslationFailed:
                    self._languages = None
                self._pairs = None if self._languages is None else _pairs(self._languages)
                self._until = time.monotonic() + (KNOWN_SECONDS if self._languages else KNOWN_SECONDS / 10)
            return self._languages


def _languages(answer: Any) -> Mapping[str, frozenset[str]] | None:
    """Older versions name no targets: then each language goes to all of them."""
    try:
        codes = frozenset(str(one["code"]) for one in answer)
        return {str(one["code"]): frozenset(map(str, one.get("targets", codes))) for one in answer}
    except (TypeError, KeyError, AttributeError):
        return None


def _pairs(languages: Mapping[str, frozenset[str]]) -> list[LanguagePairs]:
    """By our codes."""
    there = {code: name for code in LANGUAGES if (name := _name(code, languages)) is not None}
    return grouped({code: [to for to in LANGUAGES if _name(to, languages[name])] for code, name in there.items()})


def _name(code: str, there: Mapping[str, Any] | frozenset[str] | tuple[str, ...]) -> str | None:
    return next((name for name in (code, *_OTHER_NAMES.get(code, ())) if name in there), None)
