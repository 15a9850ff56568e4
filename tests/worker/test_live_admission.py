"""How many streams are taken, and what is told of them."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from core.errors import LiveFull
from tests.worker.test_metrics import shown
from worker.context.figures import LiveCounted, LiveSeen, StageDone
from worker.live.serving.admission import Admission, estimate
from worker.metrics import JobFigures


def test_streams_are_taken_while_the_workers_keep_a_fifth_of_their_time() -> None:
    now = [0.0]
    admission = Admission(most=0, workers=2, clock=lambda: now[0])
    assert admission.room == 2, "until anything is known, one for each worker"
    admission.estimated(0.2)
    assert admission.room == 8
    admission.check(7)
    with pytest.raises(LiveFull):
        admission.check(8)
    admission.heard(300)
    admission.worked(120)
    assert 4 <= admission.room < 5, "they cost more than was thought"
    admission.heard(300)
    admission.worked(180, partial=True)
    assert 5 <= admission.room < 8, "partials can wait, and count a third"
    now[0] = 3600.0
    assert admission.room == 8, "what was measured long ago is forgotten"
    admission.heard(100_000)
    assert admission.room == 16, "silent streams will not stay so"


def test_the_operators_number_holds_and_one_stream_is_always_taken() -> None:
    admission = Admission(most=3, workers=8)
    admission.estimated(0.001)
    assert admission.room == 3
    slow = Admission(most=0, workers=1)
    slow.estimated(estimate(30.0, 10.0))
    assert slow.room == 1
    assert estimate(0.5, 10.0) < estimate(2.0, 10.0) <= 1.0


def test_streams_share_the_workers() -> None:
    admission = Admission(most=0, workers=2)
    assert admission.fair_share == 2.0
    admission.streams = 8
    assert admission.fair_share == 0.25


def test_what_happens_in_streams_is_counted() -> None:
    registry = CollectorRegistry()
    figures = JobFigures(registry)
    for event in (
        LiveCounted(what="final"),
        LiveCounted(what="refusal", code="live_full"),
        StageDone(stage="recogniser", waited=0.02, worked=0.3),
        LiveSeen(streams=3, behind=1.5, waiting={"finals": 2}),
    ):
        figures(event)
    from prometheus_client import generate_latest

    found = shown(generate_latest(registry).decode())
    assert found['parascribe_live_events_total{code="live_full",what="refusal"}'] == 1
    assert found['parascribe_live_stage_seconds_sum{stage="recogniser"}'] == 0.3
    assert found['parascribe_live_stage_wait_seconds_bucket{le="0.05",stage="recogniser"}'] == 1
    assert found["parascribe_live_consumer_streams"] == 3 and found["parascribe_live_behind_seconds"] == 1.5
    assert found['parascribe_live_waiting{stage="finals"}'] == 2
