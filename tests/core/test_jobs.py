"""Parameters that come and go with versions: identities stay, and what a newer version wrote can be read."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import update

from api.schemas import JobBody
from core.jobs.consumers import ConsumerInfo
from core.jobs.job import JobStatus, Phase
from core.jobs.params import FIRST_PARAMS, JobParams
from core.store.sql import SqlStore
from core.store.tables import ROW_VERSION, job
from core.submission.retry import retry
from core.system.clock import ManualClock
from tests.core.store_kit import consumer, new_job, take


def test_what_is_stored_and_hashed_of_a_job_of_version_0_1_0_stays() -> None:
    params = JobParams(model="base", language="de", prompt="x")
    assert set(params.to_dict()) == FIRST_PARAMS
    digest = hashlib.sha256(json.dumps(params.to_dict(), sort_keys=True).encode()).hexdigest()
    assert digest == "71cf79e032c93c135e928d828e166f0368948b7bf8f389503517f90ca5ece4ad"


@pytest.mark.parametrize("track", [0, 3, "de"])
def test_a_parameter_that_is_set_is_stored_and_told_apart(track: int | str) -> None:
    params = JobParams(model="base", audio_track=track)
    assert params.to_dict()["audio_track"] == track
    assert JobParams.from_dict(params.to_dict()) == params


NEWER = {
    "params": {"model": "base", "melody": True},
    "error": {"code": "x", "message": "y", "stage": "singing", "octave": 3},
    "row_version": ROW_VERSION + 1,
}


def write(store: SqlStore, job_id: str, **values: Any) -> None:
    """As a newer version may have written it."""
    with store.database.write() as connection:
        connection.execute(update(job).where(job.c.id == job_id).values(**values))


def test_rows_of_a_newer_version_break_nothing() -> None:
    clock = ManualClock()
    store = SqlStore.in_memory(clock=clock)
    waiting, resting, gone, mine = (store.create(new_job()).id for _ in range(4))
    write(store, waiting, **NEWER)
    write(store, resting, **NEWER, stage="singing", status="resting", lease_until=0.0)
    write(store, gone, **NEWER, stage="singing", status="sung", finished_at=datetime(2001, 1, 1, tzinfo=UTC))
    read = store.get(resting)
    assert [found.id for found in store.list()[0]] == [mine, gone, resting, waiting]
    assert read in store.list()[0]
    assert (read.params, read.stage, read.status) == (
        JobParams(model="base", unknown={"melody": True}),
        Phase.TRANSCRIBING,
        JobStatus.PROCESSING,
    )
    assert read.error is not None and read.error.code == "x"
    assert JobBody.of(read, base="").model_dump()["params"]["melody"] is True
    assert store.counts()["queued"] == 2

    clock.advance(3600)
    assert store.sweep(max_attempts=3) == {"cancelled": 0, "failed": 0}
    assert store.rehint(older_than=5.0, limit=10) >= 0
    assert [found.id for found in store.expire(audio_hours=1, result_hours=1, limit=10)] == [gone]
    store.request_delete(gone)
    assert [found.id for found in store.removable(limit=10)] == [gone]
    assert take(store).job.id == mine
    assert store.claim(owner="two", consumer="here", lease_seconds=60) is None, "who knows no melody sings none"
    store.close()


def test_a_retry_keeps_what_only_a_newer_version_knows() -> None:
    store = SqlStore.in_memory()
    first = store.create(new_job()).id
    write(store, first, params={"model": "base", "melody": True}, status="failed")
    again = retry(store, first, everything=False)
    assert again.params.to_dict()["melody"] is True
    assert store.claim(owner="one", consumer="here", lease_seconds=60) is None
    newer = SqlStore(store.database, row_version=ROW_VERSION + 1)
    assert take(newer).job.id == again.id
    store.close()


def test_what_other_versions_say_of_their_consumers_is_read_as_far_as_it_is_known() -> None:
    said = consumer(3, version="9.9", engine={"state": "ready"})
    assert ConsumerInfo.from_dict(said.to_dict()) == said
    later = said.to_dict() | {"choir": True, "plan": said.to_dict()["plan"] | {"voices": 4}}
    assert ConsumerInfo.from_dict(later) == said
    assert said.slots == 3
    plan = said.to_dict()["plan"]
    del plan["pool"]
    assert ConsumerInfo.from_dict({"plan": plan}).slots == 3
    del plan["jobs"]
    assert ConsumerInfo.from_dict({"host": "h", "plan": plan}) == ConsumerInfo(host="h")
    assert set(said.public()) == {"host", "plan", "version", "engine"}
