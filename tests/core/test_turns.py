"""Whose turn it is: the order by itself, and a week of it on a clock that is set by hand."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from core.jobs.turns import AGE_SECONDS, BULK, INTERACTIVE, NORMAL, Waiting, class_of, grown, in_turn

START = datetime(2026, 1, 5, tzinfo=UTC)
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
WEEK = 7 * DAY
_numbers = itertools.count(1)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def one(name: str, priority: int = NORMAL, since: float = 0.0, owner: str | None = None) -> Waiting:
    return Waiting(id=name, owner=owner, priority=priority, since=at(since))


def order(waiting: Iterable[Waiting], now: float, **more: object) -> list[str]:
    return [job.id for job in in_turn(waiting, now=at(now), **more)]  # type: ignore[arg-type]


def test_classes_come_first_then_age() -> None:
    jobs = [one("bulk", BULK, 0), one("old", NORMAL, 1), one("new", NORMAL, 2), one("clip", INTERACTIVE, 3)]
    assert order(jobs, now=10) == ["clip", "old", "new", "bulk"]


def test_who_waits_grows_into_the_next_class_and_no_further() -> None:
    assert [grown(BULK, waited, 600) for waited in (-5, 0, 599, 600, 1199, 1200, 10**6)] == [
        -10,
        -10,
        -10,
        0,
        0,
        10,
        10,
    ]
    assert grown(INTERACTIVE, 10**6, 600) == INTERACTIVE and grown(99, 0, 600) == 99
    assert [class_of(n) for n in (99, 10, 9, 0, -1, -10, -99)] == [
        "interactive",
        "interactive",
        "normal",
        "normal",
        "bulk",
        "bulk",
        "bulk",
    ]
    bulk = one("bulk", BULK, 0)
    assert order([bulk, one("clip", INTERACTIVE, 1190)], now=1199) == ["clip", "bulk"]
    assert order([bulk, one("clip", INTERACTIVE, 1201)], now=1201) == ["bulk", "clip"]


def test_a_grown_job_takes_its_place_among_those_of_the_class_as_if_it_had_come_when_it_grew() -> None:
    jobs = [one("bulk", BULK, 0), one("before", NORMAL, 590), one("after", NORMAL, 610)]
    assert order(jobs, now=620) == ["before", "bulk", "after"]


def test_owners_take_turns_and_those_with_fewer_running_jobs_come_first() -> None:
    jobs = [one("a", owner="anna", since=0), one("b", owner="ben", since=50), one("n", owner=None, since=60)]
    assert order(jobs, now=100) == ["a", "b", "n"]
    assert order(jobs, now=100, served={"anna": at(70)}) == ["b", "n", "a"]
    assert order(jobs, now=100, served={"anna": at(70), "ben": at(80), None: at(75)}) == ["a", "n", "b"]
    assert order(jobs, now=100, running={"anna": 2, "ben": 1}) == ["n", "b", "a"]


def test_an_owner_does_not_wait_for_a_clock_that_was_put_back_to_come_to_its_last_turn() -> None:
    jobs = [one("a", owner="anna", since=0), one("b", owner="ben", since=50)]
    assert order(jobs, now=100, served={"anna": at(HOUR), "ben": at(80)}) == ["a", "b"]


def test_newcomers_do_not_go_ahead_of_an_owner_who_has_waited_since_its_last_turn() -> None:
    crowd = [one(f"new {n}", owner=f"new {n}", since=200 + n) for n in range(50)]
    old = one("old", owner="old", since=0)
    assert order([*crowd, old], now=400, served={"old": at(100)})[0] == "old"


@dataclass(order=True)
class Job:
    came: float
    seconds: float = field(compare=False)
    owner: str | None = field(compare=False)
    priority: int = field(compare=False)
    number: int = field(default_factory=lambda: next(_numbers))
    taken: float | None = field(default=None, compare=False)

    @property
    def waited(self) -> float:
        return (WEEK if self.taken is None else self.taken) - self.came


class Service:
    """Slots that take jobs as the store does: the first of each line, in turn. One more slot takes interactive jobs only."""

    def __init__(self, slots: int = 2, *, age_seconds: float = AGE_SECONDS) -> None:
        self._slots, self._age = slots, age_seconds
        self._lines: dict[tuple[str | None, int], list[Job]] = {}
        self._running: list[tuple[float, int, bool, Job]] = []
        self._served: dict[str | None, datetime] = {}

    def run(self, jobs: Iterable[Job]) -> list[Job]:
        """The jobs of a week as they went."""
        jobs = sorted(jobs)
        now = 0.0
        for job in [*jobs, Job(WEEK, 0, None, NORMAL)]:
            while self._running and self._running[0][0] <= job.came:
                now, *_ = heapq.heappop(self._running)
                self._take(now)
            if job.came < WEEK:
                heapq.heappush(self._lines.setdefault((job.owner, job.priority), []), job)
                self._take(now := job.came)
        return jobs

    def _take(self, now: float) -> None:
        usual = sum(not extra for *_, extra, _ in self._running)
        while usual < self._slots and self._start(now, self._lines, extra=False):
            usual += 1
        if len(self._running) == usual:
            urgent = {line: jobs for line, jobs in self._lines.items() if line[1] >= INTERACTIVE}
            self._start(now, urgent, extra=True)

    def _start(self, now: float, lines: dict[tuple[str | None, int], list[Job]], *, extra: bool) -> bool:
        heads = {str(jobs[0].number): jobs[0] for jobs in lines.values() if jobs}
        if not heads:
            return False
        waiting = [
            Waiting(id=name, owner=job.owner, priority=job.priority, since=at(job.came)) for name, job in heads.items()
        ]
        running = Counter(job.owner for *_, job in self._running)
        found = in_turn(waiting, now=at(now), age_seconds=self._age, running=running, served=self._served)
        job = heapq.heappop(self._lines[found[0].owner, found[0].priority])
        job.taken = now
        self._served[job.owner] = at(now)
        heapq.heappush(self._running, (now + job.seconds, job.number, extra, job))
        return True


def every(seconds: float, of: float, owner: str | None, priority: int, *, first: float = 1.0) -> Iterator[Job]:
    """A job of so many seconds each time so many have passed."""
    return (Job(first + n * seconds, of, owner, priority) for n in range(int((WEEK - first) // seconds)))


def flood() -> list[Job]:
    """One owner asks for half as much again as there is, and all of it is interactive."""
    return list(every(2 * MINUTE, 6 * MINUTE, "flood", INTERACTIVE))


def late(jobs: Iterable[Job], more_than: float, *, until: float = WEEK - 2 * HOUR) -> list[Job]:
    """Those that waited longer, or were never taken."""
    return [job for job in jobs if job.came < until and job.waited > more_than]


def test_nothing_starves_in_a_week_in_which_one_owner_asks_for_more_than_there_is() -> None:
    nightly, desk = (
        list(every(HOUR, 10 * MINUTE, "nightly", BULK)),
        list(every(10 * MINUTE, 2 * MINUTE, "desk", NORMAL)),
    )
    done = Service().run([*flood(), *nightly, *desk])
    assert not late(nightly, 2 * AGE_SECONDS + 10 * MINUTE), (
        "in the highest class after two steps, then it has its turn"
    )
    assert not late(desk, AGE_SECONDS + 10 * MINUTE)
    mine = [job for job in done if job.owner == "flood"]
    taken = [job.number for job in mine if job.taken is not None]
    assert taken == [job.number for job in mine][: len(taken)], "its own wait for one another, in order"
    assert len(taken) > 0.7 * WEEK / (2 * MINUTE) * 2 / 3, "what others leave is used"


def test_without_growing_bulk_work_would_starve_in_that_week() -> None:
    """So the test above can fail."""
    nightly = list(every(HOUR, 10 * MINUTE, "nightly", BULK))
    Service(age_seconds=10 * WEEK).run([*flood(), *nightly])
    assert sum(job.taken is None for job in nightly) > 0.9 * len(nightly)


def test_nothing_starves_while_new_owners_come_without_end() -> None:
    crowd = [Job(n * 80.0, 3 * MINUTE, f"new {n}", INTERACTIVE) for n in range(int(12 * HOUR / 80))]
    nightly = [job for job in every(HOUR, 10 * MINUTE, "nightly", BULK) if job.came < 10 * HOUR]
    Service().run([*crowd, *nightly])
    assert not late(nightly, 2 * AGE_SECONDS + 10 * MINUTE + 1)


@pytest.mark.parametrize("owner", [None, "dump"])
def test_a_clip_is_taken_at_once_while_200_hours_of_bulk_wait(owner: str | None) -> None:
    """Of another owner, and of the very same: the slot for interactive jobs is theirs."""
    bulk = [Job(float(n) / 100, 20 * MINUTE, owner, BULK) for n in range(200)]
    clips = list(every(5 * MINUTE, 5.0, None, INTERACTIVE, first=30.0))
    Service().run([*bulk, *clips])
    assert not late(clips, 0.0)
    assert all(job.taken is not None for job in bulk)
    ended = max(job.taken or 0.0 for job in bulk) + 20 * MINUTE
    assert ended <= 200 * 20 * MINUTE / 2 * 1.05, "nobody idles for it"


def test_a_busy_week_of_all_sorts() -> None:
    random_ = random.Random(7)
    kinds = {INTERACTIVE: (0.3, 5.0), NORMAL: (0.4, 4 * MINUTE), BULK: (0.3, 30 * MINUTE)}
    jobs, asked, now = list[Job](), 0.0, 0.0
    while now < WEEK:
        now += random_.expovariate(1 / 420)
        priority = random_.choices(list(kinds), [share for share, _ in kinds.values()])[0]
        seconds = random_.expovariate(1 / kinds[priority][1])
        jobs.append(Job(now, seconds, random_.choice(["anna", "ben", "cleo", None]), priority))
        asked += seconds
    assert 0.6 < asked / (2 * WEEK) < 0.95, "nearly as much as there is"
    Service().run(jobs)
    assert not late(jobs, 12 * HOUR)
    waited = {name: sorted(job.waited for job in jobs if job.priority == name) for name in kinds}
    middle = [waited[name][len(waited[name]) // 2] for name in kinds]
    assert middle == sorted(middle), "who is more urgent waits less"
    assert waited[INTERACTIVE][int(len(waited[INTERACTIVE]) * 0.99)] < MINUTE


def test_backlogged_owners_get_the_same_number_of_turns() -> None:
    jobs = [
        Job(number / 1000, 5 * MINUTE, owner, NORMAL)
        for owner, count in (("many", 5000), ("some", 500), ("few", 300))
        for number in range(count)
    ]
    Service(slots=3).run(jobs)
    taken = Counter(job.owner for job in jobs if job.taken is not None and job.taken < 12 * HOUR)
    assert max(taken.values()) - min(taken.values()) <= 2, taken
