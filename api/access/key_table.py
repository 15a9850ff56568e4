"""Keys and sessions, known in this process without asking the database at each request."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from core.errors import ServiceError
from core.keys import Key, KeyState
from core.store.protocols import Keys

log = logging.getLogger(__name__)

FRESH_SECONDS = 1.0
"""So long a key that was revoked elsewhere may still be let in."""

USED_SECONDS = 60.0
"""How often a key in use is noted as used."""


class KeyTable:
    """Belongs to one event loop. given: keys beside those of the table (API_KEYS)

    clock: seconds, for how old it is
    """

    def __init__(self, store: Keys, *, given: Sequence[Key] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._given = {key.id: key for key in given}
        self._state: KeyState | None = None
        self._seen = 0.0
        self._waiting: asyncio.Future[KeyState] | None = None
        self._looking: asyncio.Task[None] | None = None
        # a thread each: a note that waits for a writer holds nobody up
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="keys")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="keys-used")
        self._noted: dict[str, float] = {}

    async def state(self) -> KeyState:
        """As it stood a second ago or later. Raises DatabaseUnavailable: nobody is let in on old knowledge."""
        if self._state is None or self._clock() - self._seen > FRESH_SECONDS:
            return await self.look()
        return self._state

    async def look(self) -> KeyState:
        """As it stands now: who asks while a look is under way shares the next one. Raises DatabaseUnavailable."""
        answer = self._waiting
        if answer is None:
            answer = self._waiting = asyncio.get_running_loop().create_future()
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(answer)  # others may wait for it too

    def used(self, key: Key) -> None:
        """Note it, now and then, and without waiting for it."""
        now = self._clock()
        if key.id not in self._given and now - self._noted.get(key.id, -USED_SECONDS) >= USED_SECONDS:
            self._noted[key.id] = now
            self._writer.submit(self._note, key.id)

    def close(self) -> None:
        """Stop the threads."""
        self._reader.shutdown(wait=False, cancel_futures=True)
        self._writer.shutdown(wait=True, cancel_futures=True)

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while (answer := self._waiting) is not None:
                self._waiting = None
                begun = self._clock()
                known = self._state.version if self._state else None
                try:
                    found = await loop.run_in_executor(self._reader, self._store.key_state, known)
                except Exception as error:
                    answer.set_exception(error)
                    answer.exception()  # whoever asked may be gone
                    continue
                except BaseException:
                    answer.cancel()
                    raise
                if found is not None:
                    self._state = replace(found, keys={**found.keys, **self._given})
                assert self._state is not None
                self._seen = begun
                answer.set_result(self._state)
        finally:
            self._looking = None
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None

    def _note(self, key_id: str) -> None:
        try:
            self._store.used([key_id])
        except ServiceError as error:
            log.warning("When the key %s was used could not be noted: %s", key_id, error.message)
