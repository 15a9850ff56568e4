"""The slots of a consumer: so many jobs and no more, a choice at a time, and one for short jobs."""

from __future__ import annotations

import fcntl
import multiprocessing
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.jobs.job import Claim
from core.jobs.turns import Only
from tests.worker.kit import Kit
from worker.pools.slots import CHOICE_SECONDS, SHORT_SECONDS, Slots


def test_who_was_stopped_while_choosing_is_not_waited_for_without_end(tmp_path: Path) -> None:
    """A job process under SIGSTOP keeps its lock."""
    slots, asked = Slots(2, tmp_path / "slots"), list[Only]()

    def take(only: Only) -> Claim | None:
        asked.append(only)
        return None

    with (tmp_path / "slots" / "choice").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        began = time.monotonic()
        assert slots.claim(0, take) is None
        assert time.monotonic() - began >= CHOICE_SECONDS
    assert slots.claim(1, take) is None
    assert asked == [Only.ANY, Only.ANY]


@pytest.fixture
def claim(tmp_path: Path) -> Claim:
    return Claim(job=Kit(tmp_path / "kit").submit(b"audio"), fence=1, owner="c/1:1")


def of(claim: Claim, seconds: float) -> Claim:
    return replace(claim, job=replace(claim.job, duration=seconds))


def test_the_last_slot_is_kept_for_short_jobs_while_all_others_hold_long_ones(tmp_path: Path, claim: Claim) -> None:
    slots, asked = Slots(3, tmp_path / "slots"), list[Only]()

    def take(seconds: float) -> Any:
        return lambda only: asked.append(only) or of(claim, seconds)

    slots.claim(0, take(SHORT_SECONDS))
    slots.claim(1, take(10))
    slots.claim(2, take(10))
    slots.free(2)
    slots.known(1, 2 * SHORT_SECONDS)  # its length was not known before
    slots.claim(2, take(10))
    slots.free(0)
    slots.free(2)
    slots.claim(2, take(10))
    assert asked == [Only.ANY, Only.ANY, Only.ANY, Only.SHORT, Only.ANY]


def kinds(slots: Slots, index: int, **more: bool) -> list[Only]:
    """What a slot asks for when there is nothing."""
    asked: list[Only] = []
    assert slots.claim(index, lambda only: asked.append(only), **more) is None  # type: ignore[func-returns-value]
    return asked


def test_one_interactive_job_more_than_there_are_slots(tmp_path: Path, claim: Claim) -> None:
    slots = Slots(2, tmp_path / "slots")
    assert slots.claim(0, lambda _: of(claim, 10)) and slots.claim(1, lambda _: of(claim, 10))
    assert kinds(slots, 2) == [Only.INTERACTIVE], "all usual slots are taken"
    assert slots.claim(2, lambda _: of(claim, 10))
    slots.free(0)
    assert kinds(slots, 0) == [Only.ANY], "the one more does not count among the others"
    assert slots.claim(0, lambda _: of(claim, 10))
    slots.known(2, 2 * SHORT_SECONDS)
    slots.free(1)
    assert kinds(slots, 1) == [Only.ANY], "however long it is"
    slots.free(2)
    slots.known(0, 2 * SHORT_SECONDS)
    assert kinds(slots, 1) == [Only.SHORT, Only.INTERACTIVE], "the slot that is kept is no reason to let it wait"


def test_a_slot_of_its_own_takes_interactive_jobs_alone(tmp_path: Path, claim: Claim) -> None:
    """Beside Celery's pool, whose processes take whatever there is."""
    slots = Slots(1, tmp_path / "slots")
    assert kinds(slots, 1, extra=True) == [Only.INTERACTIVE]
    assert slots.claim(1, lambda _: of(claim, 10), extra=True)
    assert kinds(slots, 0) == [Only.ANY]


def test_there_is_no_second_one_more(tmp_path: Path, claim: Claim) -> None:
    slots = Slots(2, tmp_path / "slots")
    assert slots.claim(2, lambda _: of(claim, 10), extra=True)
    assert slots.claim(0, lambda _: of(claim, 2 * SHORT_SECONDS))
    assert kinds(slots, 1) == [Only.SHORT]


def test_two_pools_share_the_slots_and_death_frees_them(tmp_path: Path, claim: Claim) -> None:
    """While the broker is away a poller works beside the pool that Celery feeds: together they have no more jobs than one."""
    mine, theirs = Slots(1, tmp_path / "slots"), Slots(1, tmp_path / "slots")
    ready = multiprocessing.Event()

    def hold() -> None:
        theirs.claim(0, lambda _: claim)
        ready.set()
        time.sleep(600)

    process = multiprocessing.get_context("fork").Process(target=hold)
    process.start()
    assert ready.wait(60)
    assert not mine.is_free(0) and mine.claim(0, lambda _: claim) is None
    process.kill()
    process.join()
    assert mine.is_free(0) and mine.claim(0, lambda _: claim) == claim
