"""The order in which requests get their turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from whisper.host.clients import Connection
from whisper.types import Urgency

_MOST_TURNS = 512


class RequestQueue:
    """Those that wait: the most urgent first, and among these the jobs in turn."""

    def __init__(self) -> None:
        self._waiting: dict[Urgency, dict[str, deque[Connection]]] = {urgency: {} for urgency in Urgency}
        self._turns: dict[str, int] = {}  # when each job was last served, counted in requests
        self._turn = 0

    def __len__(self) -> int:
        return sum(len(queue) for jobs in self._waiting.values() for queue in jobs.values())

    def add(self, connection: Connection) -> None:
        self._waiting[connection.urgency].setdefault(connection.job, deque()).append(connection)

    def remove(self, connection: Connection) -> None:
        jobs = self._waiting[connection.urgency]
        jobs[connection.job].remove(connection)
        if not jobs[connection.job]:
            del jobs[connection.job]

    def first(self, running: Sequence[str]) -> Connection:
        """Of the job that has the fewest workers, and among equals the one whose last turn is longest ago.

        running: the job of each busy worker
        """
        jobs = next(jobs for jobs in self._waiting.values() if jobs)
        return jobs[min(jobs, key=lambda job: (running.count(job), self._turns.get(job, 0)))][0]

    def take(self, connection: Connection) -> None:
        """It has got a worker."""
        self.remove(connection)
        self._turn += 1
        self._turns[connection.job] = self._turn
        if len(self._turns) > _MOST_TURNS:
            waiting = self.by_job()
            self._turns = {job: turn for job, turn in self._turns.items() if job in waiting}

    def by_job(self) -> dict[str, int]:
        """How many wait."""
        found: dict[str, int] = {}
        for jobs in self._waiting.values():
            for job, queue in jobs.items():
                found[job] = found.get(job, 0) + len(queue)
        return found
