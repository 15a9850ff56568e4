"""The plan of a run as it grows: the chunks' tasks, as far as they are stored."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from core.jobs.tasks import Task
from core.system.cancel import Cancel


class GrowingPlan:
    """Filled by one thread, read by others.

    stored: what former owners planned, and what came of it
    complete: nothing comes any more
    on_change: told each time there is more; on_wait: while somebody waits for that
    """

    def __init__(
        self,
        stored: Sequence[Task],
        *,
        complete: bool,
        cancel: Cancel,
        on_change: Callable[[], None] = lambda: None,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        self.tasks = list(stored)
        self.complete = complete
        self._cancel, self._on_change, self._on_wait = cancel, on_change, on_wait
        self._grown = threading.Condition()

    def add(self, tasks: Sequence[Task]) -> None:
        with self._grown:
            self.tasks += tasks
            self._grown.notify_all()
        self._on_change()

    def close(self) -> None:
        with self._grown:
            self.complete = True
            self._grown.notify_all()
        self._on_change()

    def open_tasks(self) -> Iterator[Task]:
        """Those still to do, as they come; at the end those in flight when a process died, which may be what killed it."""
        suspects = []
        for task in self._as_they_come():
            if task.crashes:
                suspects.append(task)
            elif not task.ended:
                yield task
        yield from sorted((task for task in suspects if not task.ended), key=lambda task: (task.crashes, task.number))

    def _as_they_come(self) -> Iterator[Task]:
        n = 0
        while True:
            with self._grown:
                while n >= len(self.tasks) and not self.complete and not self._cancel.is_set():
                    if not self._grown.wait(0.1):
                        self._on_wait()
            if n >= len(self.tasks):
                return
            yield self.tasks[n]
            n += 1
