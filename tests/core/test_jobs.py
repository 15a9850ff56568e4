"""Parameters that come and go with versions: identities stay, and what a newer version wrote can be read."""

from __future__ import annotations

import hashlib
import json

import pytest
from sqlalchemy import update

from core.jobs.job import JobStatus, Stage
from core.jobs.params import FIRST_PARAMS, JobParams
from core.store.sql import SqlStore
from core.store.tables import job
from tests.core.store_kit import new_job


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


def test_a_row_of_a_newer_version_can_be_read_listed_and_removed() -> None:
    store = SqlStore.in_memory()
    made = store.create(new_job())
    with store.database.write() as connection:
        connection.execute(
            update(job)
            .where(job.c.id == made.id)
            .values(
                params={"model": "base", "melody": True},
                stage="singing",
                status="resting",
                error={"code": "x", "message": "y", "stage": "singing", "octave": 3},
            )
        )
    read = store.get(made.id)
    assert read == store.list()[0][0]
    assert (read.params, read.stage, read.status) == (
        JobParams(model="base", unknown={"melody": True}),
        Stage.TRANSCRIBING,
        JobStatus.PROCESSING,
    )
    assert read.error is not None and read.error.code == "x"
    store.close()
