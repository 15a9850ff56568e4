"""The choice of a job: one slot at a time, but not for ever."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path

from core.jobs import Claim
from worker.slots import CHOICE_SECONDS, Slots


def test_who_was_stopped_while_choosing_is_not_waited_for_without_end(tmp_path: Path) -> None:
    """A job process under SIGSTOP keeps its lock."""
    slots, asked = Slots(2, tmp_path / "lock"), list[bool]()

    def take(short_only: bool) -> Claim | None:
        asked.append(short_only)
        return None

    with (tmp_path / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        began = time.monotonic()
        assert slots.claim(0, take) is None
        assert time.monotonic() - began >= CHOICE_SECONDS
    assert slots.claim(1, take) is None
    assert asked == [False, False]
