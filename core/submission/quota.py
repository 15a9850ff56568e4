"""What one owner may have of the service at a time, and in a day."""

from __future__ import annotations

import math

from core.errors import QuotaExceeded
from core.keys import KeyLimits
from core.store.owners import OwnerJobs

WAITING_SECONDS = 15
"""When to come again while jobs wait: one of them may have begun."""


def check_quota(jobs: OwnerJobs, limits: KeyLimits, *, more: int = 1) -> None:
    """Whether so many more jobs may be made. Raises QuotaExceeded, whose details say the limit, and in how many seconds to try again.

    How long a file is turns out while it is decoded, so the job that goes over the day's limit is done still.
    """
    most, seconds = limits.jobs_waiting, limits.audio_seconds_per_day
    if not most and not seconds:
        return
    usage = jobs.usage()
    if most and usage.waiting + more > most:
        message = f"{usage.waiting} jobs of this key's owner are waiting, and {most} may; try again later."
        raise QuotaExceeded(message, limit=most, remaining=0, reset=WAITING_SECONDS, retry_after=WAITING_SECONDS)
    if seconds and usage.audio_seconds >= seconds:
        again = max(1, math.ceil(usage.freed_in))
        message = f"{usage.audio_seconds:.0f} s of audio in 24 hours, and this key's owner may send {seconds:.0f}."
        raise QuotaExceeded(message, limit=math.floor(seconds), remaining=0, reset=again, retry_after=again)
