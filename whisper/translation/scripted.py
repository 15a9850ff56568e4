"""A translator that needs nothing, for tests: what is said in it can be told from any other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from core.system.cancel import Cancel, raise_if_cancelled
from core.transcript.languages import LANGUAGES, LanguagePairs, by_source, grouped
from whisper.translation.texts import translated


def scripted(text: str, target: str) -> str:
    """What ScriptedTranslator makes of a text."""
    return f"[{target}] {text.upper()}"


class ScriptedTranslator:
    """Twin of the others. asked: the texts of each request

    pairs: that it can do; None: all
    act: done before each request, with its texts: it may wait, or raise
    """

    name = "scripted"

    def __init__(
        self, pairs: Collection[tuple[str, str]] | None = None, act: Callable[[list[str]], object] = lambda _: None
    ) -> None:
        self.asked: list[list[str]] = []
        self.before: list[list[str]] = []
        self._pairs, self._act = pairs, act

    def can(self, source: str | None, target: str) -> bool:
        if self._pairs is None:
            return source != target
        return any(target == to and source in (None, out_of) for out_of, to in self._pairs)

    def pairs(self) -> list[LanguagePairs]:
        if self._pairs is None:
            return [LanguagePairs(sources=None, targets=tuple(sorted(LANGUAGES)))]
        return grouped(by_source(self._pairs))

    def translate(
        self,
        texts: Sequence[str],
        *,
        source: str,
        target: str,
        before: Sequence[str] = (),
        cancel: Cancel | None = None,
    ) -> list[str]:
        raise_if_cancelled(cancel)

        def ask(wanted: list[str]) -> list[str]:
            self.asked.append(wanted)
            self.before.append([*before])
            self._act(wanted)
            raise_if_cancelled(cancel)
            return [scripted(text, target) for text in wanted]

        return translated(texts, ask)
