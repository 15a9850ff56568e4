"""Whose turn it is: the order in which waiting jobs are taken. Pure; `docs/explanation/fairness.md` says why.

By class; among equals the owner with the fewest jobs running, then the one that has had no turn for the longest time; of one
owner's jobs the oldest. A waiting job grows into the next class again and again, so nothing starves: in the highest one only
those are ahead of it that were there before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

Priority = Literal["interactive", "normal", "bulk"]

INTERACTIVE, NORMAL, BULK = 10, 0, -10
STEP = 10
"""From one class to the next."""

CLASSES: Mapping[Priority, int] = MappingProxyType({"interactive": INTERACTIVE, "normal": NORMAL, "bulk": BULK})
"""As the job's row has them: higher comes first."""

AGE_SECONDS = 600.0
"""PRIORITY_AGE_SECONDS, where nobody says otherwise."""


class Only(StrEnum):
    """Which jobs a slot may take."""

    ANY = "any"
    SHORT = "short"  #: known or guessed (by size) to be under ten minutes of audio
    INTERACTIVE = "interactive"  #: asked for as such: those that have grown into that class are not meant


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A job that could be taken: of its owner's jobs of one priority, the oldest."""

    id: str
    owner: str | None
    priority: int
    since: datetime


def class_of(priority: int) -> Priority:
    """The highest class that a number reaches."""
    return next((name for name, least in CLASSES.items() if priority >= least), "bulk")


def grown(priority: int, waited: float, age_seconds: float) -> int:
    """The priority of a job that has waited for so many seconds."""
    steps = max(0, int(waited // age_seconds))
    return max(priority, min(INTERACTIVE, priority + STEP * steps))


def in_turn(
    waiting: Iterable[Waiting],
    *,
    now: datetime,
    age_seconds: float = AGE_SECONDS,
    running: Mapping[str | None, int] = MappingProxyType({}),
    served: Mapping[str | None, datetime] = MappingProxyType({}),
) -> list[Waiting]:
    """The order in which to take them, for one slot: after each job the next is asked for anew.

    running: jobs in work, by owner; served: when each owner last had its turn. Who is new has waited for its turn since its
    oldest job came, no longer: so newcomers, however many, do not go ahead of those who wait.
    """
    waiting = list(waiting)
    # one that is still to come was before the clock was put back: its owner must not wait until then
    served = {owner: at for owner, at in served.items() if at <= now}
    begun: dict[str | None, datetime] = {}
    for one in waiting:
        begun[one.owner] = min(one.since, begun.get(one.owner, one.since))

    def place(one: Waiting) -> tuple[int, int, datetime, datetime, str]:
        mine = begun[one.owner]
        steps = max(0, INTERACTIVE - one.priority) / STEP
        return (
            -grown(one.priority, (now - one.since).total_seconds(), age_seconds),
            running.get(one.owner, 0),
            max(mine, served.get(one.owner, mine)),
            one.since + timedelta(seconds=age_seconds * steps),
            one.id,
        )

    return sorted(waiting, key=place)
