"""The order in which requests get their turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from whisper.host.clients import Connection
from whisper.types import Urgency

MOST_AHEAD = 9
"""So many interactive requests in a row go ahead of others that wait; then it is one of these: nothing starves."""

_MOST_TURNS = 512

Whose = tuple[str, str]
"""The owner of a request and its job."""


class RequestQueue:
    """Those that wait: the most urgent first, among these the owners in turn, and the jobs of each."""

    def __init__(self) -> None:
        self._waiting: dict[Urgency, dict[Whose, deque[Connection]]] = {urgency: {} for urgency in Urgency}
        # when each owner and each of its jobs was last served, counted in requests
        self._owners, self._jobs = dict[str, int](), dict[Whose, int]()
        self._turn = self._ahead = 0

    def __len__(self) -> int:
        return sum(len(queue) for jobs in self._waiting.values() for queue in jobs.values())

    def add(self, connection: Connection) -> None:
        self._waiting[connection.urgency].setdefault(_whose(connection), deque()).append(connection)

    def remove(self, connection: Connection) -> None:
        jobs, whose = self._waiting[connection.urgency], _whose(connection)
        jobs[whose].remove(connection)
        if not jobs[whose]:
            del jobs[whose]

    def first(self, running: Sequence[Whose]) -> Connection:
        """Of the owner that has the fewest workers, and among equals the one whose last turn is longest ago; of its jobs likewise.

        running: whose request each busy worker has
        """
        owners, jobs = [owner for owner, _ in running], self._next_class()

        def place(whose: Whose) -> tuple[int, int, int, int]:
            owner = whose[0]
            mine = owners.count(owner), self._owners.get(owner, 0)
            return (*mine, running.count(whose), self._jobs.get(whose, 0))

        return jobs[min(jobs, key=place)][0]

    def take(self, connection: Connection) -> None:
        """It has got a worker."""
        self.remove(connection)
        whose = _whose(connection)
        self._turn += 1
        self._owners[whose[0]] = self._jobs[whose] = self._turn
        if connection.urgency is Urgency.JOB:
            self._ahead = 0
        elif connection.urgency is Urgency.INTERACTIVE and self._waiting[Urgency.JOB]:
            self._ahead += 1
        if len(self._jobs) > _MOST_TURNS:
            waiting = {whose for jobs in self._waiting.values() for whose in jobs}
            self._jobs = {whose: turn for whose, turn in self._jobs.items() if whose in waiting}
            self._owners = {owner: turn for owner, turn in self._owners.items() if any(owner == w[0] for w in waiting)}

    @property
    def urgent(self) -> bool:
        """Whether the next request shall not wait for a worker to be done."""
        return len(self) > 0 and self._next_class() is not self._waiting[Urgency.JOB]

    def by_job(self) -> dict[str, int]:
        """How many wait."""
        found: dict[str, int] = {}
        for jobs in self._waiting.values():
            for (_, job), queue in jobs.items():
                found[job] = found.get(job, 0) + len(queue)
        return found

    def _next_class(self) -> Mapping[Whose, deque[Connection]]:
        others = self._waiting[Urgency.JOB]
        if others and self._ahead >= MOST_AHEAD and not self._waiting[Urgency.LIVE]:
            return others
        return next(jobs for jobs in self._waiting.values() if jobs)


def _whose(connection: Connection) -> Whose:
    return connection.owner, connection.job
