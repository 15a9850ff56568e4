"""Who translates what: the translators of an installation in their order, the speech model's own way among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from core.errors import TranslationFailed
from core.system.cancel import Cancel
from core.transcript.languages import LanguagePairs
from whisper.translation.translator import Translator

SPOKEN: Final = "whisper"
"""Stands in the order for Whisper itself, which writes English while it hears another language: it needs sound, and so is
no `Translator` (`whisper.translation.spoken`)."""

Choice = Translator | Literal["whisper"]


class Translators:
    """As a `Translator` itself it is the first of those by text that can do a pair.

    version: changes with what the translations depend on
    """

    name = "translators"

    def __init__(self, order: Sequence[Choice] = (), *, version: str = "") -> None:
        self._order, self.version = tuple(order), version

    @property
    def names(self) -> list[str]:
        return [one if isinstance(one, str) else one.name for one in self._order]

    def choose(self, source: str | None, target: str, *, spoken: bool) -> Choice | None:
        """Who translates; None: nobody can. spoken: whether there is sound, and a model that can (`ModelInfo.translates`)"""
        for one in self._order:
            if isinstance(one, str):
                if spoken and target == "en" and source != "en":
                    return SPOKEN
            elif one.can(source, target):
                return one
        return None

    def can(self, source: str | None, target: str, *, spoken: bool = False) -> bool:
        """source: None = not known yet, so: from anything at all"""
        return self.choose(source, target, spoken=spoken) is not None

    def offers(self) -> list[tuple[str, Sequence[LanguagePairs] | None]]:
        """By name of each, in their order, what it can do (`Translator.pairs`)."""
        spoken = LanguagePairs(sources=None, targets=("en",))
        return [(one, [spoken]) if isinstance(one, str) else (one.name, one.pairs()) for one in self._order]

    def translate(
        self,
        texts: Sequence[str],
        *,
        source: str,
        target: str,
        before: Sequence[str] = (),
        cancel: Cancel | None = None,
    ) -> list[str]:
        one = self.choose(source, target, spoken=False)
        if one is None or isinstance(one, str):
            raise TranslationFailed(nobody(source, target), away=True)
        return one.translate(texts, source=source, target=target, before=before, cancel=cancel)


def nobody(source: str, target: str) -> str:
    """What is said where there is nobody who could."""
    return f"Nothing here translates from {source} to {target}."
