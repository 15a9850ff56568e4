"""A consumer in a thread of the test, for clients that wait for their transcript."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from core.errors import ServiceError
from tests.api.serving import Service
from tests.api.talks import Talk

TEXT = "Words 0.0 süß. Words 0.1 süß. Words 1.0 süß. Words 1.1 süß. Words 2.0 süß. Words 2.1 süß."
LINES = [f"Words {chunk}.{n} süß." for chunk in range(3) for n in range(2)]


class Consumer(threading.Thread):
    """Does the next job that waits."""

    def __init__(self, running: Service, work: Callable[[Talk], object] | None = None) -> None:
        super().__init__()
        self.talk: Talk | None = None
        self._running, self._work = running, work
        self.start()

    def run(self) -> None:
        deadline = time.monotonic() + 20
        while not self._running.store.waiting(at_most=1):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        self.talk = Talk(self._running.store, made=False)
        if self._work:
            self._work(self.talk)
        else:
            self.talk.whole(self._running.objects)


@contextmanager
def consuming(running: Service) -> Iterator[list[Talk]]:
    """Every job that waits is done, as long as the block lasts; gives those that were."""
    done: list[Talk] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.01):
            if running.store.waiting(at_most=1):
                with contextlib.suppress(ServiceError):  # a client may be content with the beginning
                    done.append(Talk(running.store, made=False).whole(running.objects))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join()
