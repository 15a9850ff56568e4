"""How those who look for jobs hear of new ones: the broker, or a doorbell in the runtime folder."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from core.config.settings import Settings
from core.queue.hints import CeleryHints, Doorbell, HintSender, PollOnly

log = logging.getLogger(__name__)


def open_hints(settings: Settings, runtime: Path | None) -> HintSender:
    if settings.broker is not None:
        return CeleryHints(settings.broker)
    return doorbell(runtime) if runtime is not None else PollOnly()


def doorbell(runtime: Path, *, extra: bool = False) -> Doorbell:
    """extra: that of the slot for one interactive job more, where it has a process of its own."""
    return Doorbell(runtime / ("extra-bell" if extra else "bell"))


class BrokerWatch:
    """Whether the broker answers: asked every `interval` seconds in a thread, believed away after two misses."""

    def __init__(self, url: str, interval: float) -> None:
        from redis import Redis

        # single_connection_client would keep a half-open connection; a fresh one each time tells the truth
        self._redis = Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3, max_connections=1)
        self._interval = interval
        self._misses = 0

    @property
    def away(self) -> bool:
        return self._misses >= 2

    def start(self) -> None:
        threading.Thread(target=self._run, name="broker", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                self._redis.ping()
                self._misses = 0
            except Exception as error:  # redis and socket errors have no common base
                self._misses += 1
                if self._misses == 2:
                    log.warning(
                        "The broker does not answer (%s): jobs are looked for in the table meanwhile",
                        type(error).__name__,
                    )
                self._redis.connection_pool.disconnect()
            time.sleep(self._interval)
