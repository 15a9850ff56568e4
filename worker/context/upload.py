"""The source file of one run, between the thread that reads it and those that wait for it."""

from __future__ import annotations

import threading
from pathlib import Path

from core.errors import Interrupted
from core.system.cancel import Cancel


class Upload:
    """The source file of one run, between the thread that reads it and those that wait for it."""

    def __init__(self, cancel: Cancel) -> None:
        self._cancel = cancel
        self._path: Path | None = None
        self._error: BaseException | None = None
        self._there = threading.Event()
        self.fetched = False
        """Somebody reads it in this run: nothing was made of it where nobody does."""
        self.verified = threading.Event()
        """It is what was uploaded, to the last byte."""

    def offer(self, path: Path) -> None:
        """It can be read from now on, whole."""
        self._path = path
        self._there.set()

    def fail(self, error: BaseException) -> None:
        self._error = error
        self._there.set()
        self.verified.set()

    def path(self) -> Path:
        """Block until it is there. Raises what fetching raised, Interrupted."""
        self._wait(self._there)
        assert self._path is not None
        return self._path

    def verify(self) -> None:
        """Block until it is known to be what was uploaded. Raises SourceCorrupt and what else fetching raised, Interrupted."""
        if self.fetched:
            self._wait(self.verified)

    def _wait(self, event: threading.Event) -> None:
        while not event.wait(0.1):
            if self._cancel.is_set():
                raise Interrupted("Stopped while fetching the source.")
        if self._error is not None and (event is self.verified or self._path is None):
            raise self._error
