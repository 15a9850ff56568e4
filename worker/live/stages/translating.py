"""Finals into another language, while the next utterance is being recognised."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from functools import partial

from core.errors import ServiceError
from core.live.events import Final, Translation
from core.system.cancel import Cancel
from whisper.translation.translator import Translator

log = logging.getLogger(__name__)

WAITING = 32
"""Finals that may wait; of more it is said that their translation was left out."""

LEFT_OUT = "translation_behind"
"""The code of that."""

BEFORE = 3
"""Texts that a translator is told came before."""


class Translating:
    """target: ISO 639-1. tell: takes each translation, in order, but for those that are left out. `run` is its task."""

    def __init__(
        self,
        translator: Translator,
        *,
        target: str,
        executor: Executor,
        cancel: Cancel,
        tell: Callable[[Translation], Awaitable[None]],
    ) -> None:
        self._translator, self._target = translator, target
        self._executor, self._cancel, self._tell = executor, cancel, tell
        self._queue: asyncio.Queue[Final] = asyncio.Queue(WAITING)
        self._left = 0
        self._before: deque[str] = deque(maxlen=BEFORE)

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    async def add(self, final: Final) -> None:
        """Never waits for the translator."""
        if not final.text:
            return
        try:
            self._queue.put_nowait(final)
            self._left += 1
        except asyncio.QueueFull:
            await self._tell(Translation(utterance=final.utterance, language=self._target, error=LEFT_OUT))

    @property
    def is_done(self) -> bool:
        """Whether nothing waits, and nothing is under way."""
        return self._left == 0

    async def run(self) -> None:
        while True:
            final = await self._queue.get()
            translation = await self._translated(final)
            self._left -= 1
            await self._tell(translation)

    async def _translated(self, final: Final) -> Translation:
        ask = partial(
            self._translator.translate,
            [final.text],
            source=final.language,
            target=self._target,
            before=tuple(self._before),
            cancel=self._cancel,
        )
        self._before.append(final.text)
        if final.language == self._target:
            return Translation(utterance=final.utterance, language=self._target, text=final.text)
        try:
            (text,) = await asyncio.get_running_loop().run_in_executor(self._executor, ask)
        except ServiceError as error:
            log.warning("Utterance %d was not translated: %s", final.utterance, error.message)
            return Translation(utterance=final.utterance, language=self._target, error=error.code)
        return Translation(utterance=final.utterance, language=self._target, text=text)
