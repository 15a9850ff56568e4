"""The order of requests at an engine host: urgency, owners in turn, their jobs in turn, and nothing starves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from whisper.host.clients import Connection
from whisper.host.request_queue import MOST_AHEAD, RequestQueue, Whose


def asked(job: str, owner: str = "", urgency: str = "job") -> Connection:
    sock: Any = None  # a queue never touches it
    return Connection(sock, 0.0, request={"job": job, "owner": owner, "urgency": urgency})


@pytest.fixture
def queue() -> Iterator[RequestQueue]:
    return RequestQueue()


def served(queue: RequestQueue, count: int, running: list[Whose] | None = None) -> list[str]:
    """The jobs of the next requests, each done before the next one is given out."""
    found = []
    for _ in range(count):
        connection = queue.first(running or [])
        queue.take(connection)
        found.append(connection.job)
    return found


def test_the_urgent_come_first_and_each_class_takes_turns(queue: RequestQueue) -> None:
    for name in ("a", "a", "b"):
        queue.add(asked(name))
    for name in ("p", "p", "q"):
        queue.add(asked(name, urgency="interactive"))
    queue.add(asked("live", urgency="live"))
    assert len(queue) == 7 and queue.by_job() == {"a": 2, "b": 1, "p": 2, "q": 1, "live": 1}
    assert served(queue, 7) == ["live", "p", "q", "p", "a", "b", "a"] and not queue


def test_an_owner_with_many_jobs_gets_as_much_as_one_with_one(queue: RequestQueue) -> None:
    for _ in range(10):
        for job in ("a1", "a2", "a3"):
            queue.add(asked(job, "anna"))
        queue.add(asked("b1", "ben"))
    order = served(queue, 20)
    assert Counter(job[0] for job in order) == {"a": 10, "b": 10}
    assert Counter(order[:18]) == {"a1": 3, "a2": 3, "a3": 3, "b1": 9}, "and its own jobs take turns"
    assert len(served(queue, 20)) == 20, "what others leave is anna's"


def test_who_has_fewer_workers_comes_first(queue: RequestQueue) -> None:
    for job, owner in (("a1", "anna"), ("a2", "anna"), ("b1", "ben")):
        queue.add(asked(job, owner))
    assert served(queue, 1, [("ben", "b1"), ("ben", "b1"), ("anna", "a1")]) == ["a2"]


def test_interactive_requests_without_end_do_not_starve_the_others(queue: RequestQueue) -> None:
    for _ in range(5):
        queue.add(asked("bulk"))
    for _ in range(100):
        queue.add(asked("clip", urgency="interactive"))
    assert served(queue, 2 * MOST_AHEAD + 2) == [*["clip"] * MOST_AHEAD, "bulk"] * 2
    queue.add(asked("live", urgency="live"))
    assert served(queue, 1) == ["live"]


def test_who_leaves_is_forgotten(queue: RequestQueue) -> None:
    first, second = asked("a"), asked("a")
    queue.add(first)
    queue.add(second)
    queue.remove(first)
    assert queue.first([]) is second
    queue.remove(second)
    assert len(queue) == 0 and queue.by_job() == {}
