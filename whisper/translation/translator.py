"""What a provider of translation is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from core.system.cancel import Cancel
from core.transcript.languages import LanguagePairs


class Translator(Protocol):
    """Text from one language to another. Safe from many threads.

    name: of the provider, as settings and results have it
    """

    name: str

    def can(self, source: str | None, target: str) -> bool:
        """Whether it translates between these (ISO 639-1). source: None = not known yet, so: from anything at all"""
        ...

    def pairs(self) -> Sequence[LanguagePairs] | None:
        """All that it can do, as far as it is known here and now; None: it is not known (yet). Asks nobody, so it may be what was
        known some minutes ago."""
        ...

    def translate(
        self,
        texts: Sequence[str],
        *,
        source: str,
        target: str,
        before: Sequence[str] = (),
        cancel: Cancel | None = None,
    ) -> list[str]:
        """A translation of each text, in order. before: the texts that were said before, for whoever can make use of them

        Raises TranslationFailed, Cancelled.
        """
        ...
