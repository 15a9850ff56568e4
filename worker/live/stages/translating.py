"""Finals into another language, while the next utterance is being recognised."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from functools import partial

from core.audio.samples import Pcm
from core.errors import ServiceError, TranslationFailed
from core.live.events import Final, Translation
from core.system.cancel import Cancel
from whisper.translation.router import SPOKEN, Choice, Translators, nobody

log = logging.getLogger(__name__)

WAITING = 32
"""Finals that may wait; of more it is said that their translation was left out."""

LEFT_OUT = "translation_behind"
"""The code of that."""

BEFORE = 3
"""Texts that a translator is told came before."""


SpokenInEnglish = Callable[[Pcm, str], str]
"""What speech in a language comes to in English, by the speech model itself. Raises ServiceError."""


class Translating:
    """target: ISO 639-1. spoken: None where the model cannot. tell: takes each translation, in order, but for those that
    are left out. `run` is its task."""

    def __init__(
        self,
        translators: Translators,
        *,
        target: str,
        spoken: SpokenInEnglish | None,
        executor: Executor,
        cancel: Cancel,
        tell: Callable[[Translation], Awaitable[None]],
    ) -> None:
        self._translators, self._target, self._spoken = translators, target, spoken
        self._executor, self._cancel, self._tell = executor, cancel, tell
        self._queue: asyncio.Queue[tuple[Final, Pcm | None]] = asyncio.Queue(WAITING)
        self._left = 0
        self._before: deque[str] = deque(maxlen=BEFORE)

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    def hears(self, language: str) -> bool:
        """Whether speech in it is translated from its sound, so that `add` must have that."""
        return self._choice(language) == SPOKEN

    async def add(self, final: Final, pcm: Pcm | None = None) -> None:
        """Never waits for the translator."""
        if not final.text:
            return
        try:
            self._queue.put_nowait((final, pcm))
            self._left += 1
        except asyncio.QueueFull:
            await self._tell(Translation(utterance=final.utterance, language=self._target, error=LEFT_OUT))

    @property
    def is_done(self) -> bool:
        """Whether nothing waits, and nothing is under way."""
        return self._left == 0

    async def run(self) -> None:
        while True:
            translation = await self._translated(*await self._queue.get())
            self._left -= 1
            await self._tell(translation)

    def _choice(self, language: str) -> Choice | None:
        return self._translators.choose(language, self._target, spoken=self._spoken is not None)

    async def _translated(self, final: Final, pcm: Pcm | None) -> Translation:
        if final.language == self._target:
            return Translation(utterance=final.utterance, language=self._target, text=final.text)
        before = tuple(self._before)
        self._before.append(final.text)
        ask = partial(self._ask, final, pcm, before)
        try:
            text = await asyncio.get_running_loop().run_in_executor(self._executor, ask)
        except ServiceError as error:
            log.warning("Utterance %d was not translated: %s", final.utterance, error.message)
            return Translation(utterance=final.utterance, language=self._target, error=error.code)
        return Translation(utterance=final.utterance, language=self._target, text=text)

    def _ask(self, final: Final, pcm: Pcm | None, before: tuple[str, ...]) -> str:
        choice = self._choice(final.language)
        if choice is None:
            raise TranslationFailed(nobody(final.language, self._target), away=True)
        if not isinstance(choice, str):
            given = {"source": final.language, "target": self._target}
            (text,) = choice.translate([final.text], **given, before=before, cancel=self._cancel)
            return text
        if self._spoken is None or pcm is None:  # of a stream that goes on: what was said before is not heard again
            raise TranslationFailed("The sound of this utterance is not there any more.")
        return self._spoken(pcm, final.language)
