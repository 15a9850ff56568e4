"""Hints to the broker that can neither fail nor delay a request."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

WAITING = 256
"""Hints held while the broker is slow. Those beyond are dropped: the sweeper re-sends from the outbox."""


class Notifier:
    """One thread that passes job ids on. The thread is a daemon: a broker that hangs must not stop a shutdown."""

    def __init__(self, send: Callable[[str], object]) -> None:
        self._send = send
        self._waiting: queue.Queue[str | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name="notifier", daemon=True)
        self._thread.start()

    def notify(self, job_id: str) -> None:
        """Pass on that a job waits. Returns at once, always."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(job_id)

    def close(self) -> None:
        """Send what waits, for a second at most."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
            self._thread.join(1.0)

    def _run(self) -> None:
        while (job_id := self._waiting.get()) is not None:
            try:
                self._send(job_id)
            except Exception as error:  # whatever the broker's client raises: it is only a hint
                log.warning("No hint for job %s (%s); the sweeper sends it again", job_id, type(error).__name__)
