"""What one owner may have at a time and in a day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from core.errors import QuotaExceeded
from core.keys import NO_LIMITS, KeyLimits
from core.store.sql import SqlStore
from core.store.tables import job
from core.submission.quota import check_quota
from tests.core.store_kit import new_job


def test_jobs_that_wait() -> None:
    store = SqlStore.in_memory()
    jobs, limits = store.of("anna"), KeyLimits(jobs_waiting=2)
    store.of("bert").create(new_job())
    jobs.create(new_job())
    check_quota(jobs, limits)
    job_id = jobs.create(new_job()).id
    with pytest.raises(QuotaExceeded, match="2 jobs .* are waiting, and 2 may") as refused:
        check_quota(jobs, limits)
    assert refused.value.details == {"limit": 2, "remaining": 0, "reset": 15, "retry_after": 15}
    check_quota(jobs, NO_LIMITS)
    check_quota(jobs, KeyLimits())
    jobs.request_cancel(job_id)
    check_quota(jobs, limits)
    store.close()


def test_audio_of_a_day() -> None:
    store = SqlStore.in_memory()
    jobs, limits = store.of("anna"), KeyLimits(audio_seconds_per_day=90.5)
    job_id = jobs.create(new_job()).id
    for seconds, good in ((90.0, True), (90.5, False)):
        made = datetime.now(UTC) - timedelta(hours=23)
        with store.database.write() as connection:
            connection.execute(update(job).where(job.c.id == job_id).values(duration=seconds, created_at=made))
        if good:
            check_quota(jobs, limits)
    with pytest.raises(QuotaExceeded) as refused:
        check_quota(jobs, limits)
    again = refused.value.details["retry_after"]
    assert 3500 < again <= 3600 and refused.value.details["reset"] == again
    store.close()
