"""Live processes that die: whoever goes on with the last ack loses no sample and hears no final twice."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.faults.live import Talk, kills
from testbed.faults.live_main import RESUME_VARIABLE
from testbed.faults.rig import Rig


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One consumer, whose streams are heard by a rule; they wait 3 s for their clients."""
    with_live = {"LIVE_ENABLED": "true", RESUME_VARIABLE: "3", "LEASE_SECONDS": "15"}
    one = Rig(tmp_path_factory.mktemp("live"), **with_live)
    one.start()
    try:
        one.live_door()
        yield one
    finally:
        one.stop()


def test_a_live_process_that_is_killed_costs_a_pause_and_no_word(rig: Rig) -> None:
    async def story() -> None:
        talk = Talk(rig, seed=1, seconds=10)
        done = await asyncio.wait_for(kills(talk, count=2), 60)
        assert done == 2
        talk.check(rig.store, rig.objects)
        assert rig.ended(talk.job or "", 60).status == "completed"

    asyncio.run(story())


def test_who_comes_back_in_time_goes_on_and_who_does_not_has_ended(rig: Rig) -> None:
    async def story() -> None:
        talk = Talk(rig, seed=2, seconds=6)
        await talk.go(vanish=0.5)
        await asyncio.sleep(1.5)
        assert talk.session in [one.id for one in rig.store.sessions(None)]
        await talk.go(vanish=0.8)
        for _ in range(200):
            if talk.session not in [one.id for one in rig.store.sessions(None)]:
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError("it goes on for ever")
        await talk.go()
        assert talk.refused == "live_session_ended"

    asyncio.run(story())


def test_a_process_that_is_stopped_gives_its_streams_away(rig: Rig) -> None:
    async def story() -> None:
        talk = Talk(rig, seed=3, seconds=6)
        going = asyncio.create_task(talk.through())
        await talk.heard(1)
        (process,) = rig.processes("live_main")
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(going, 40)
        assert 1012 in talk.closed
        talk.check(rig.store, rig.objects)

    asyncio.run(story())


def test_where_it_is_and_what_lets_in_is_nobodys_business(rig: Rig) -> None:
    door = rig.live_door()
    shown = json.dumps(rig.system())
    assert door["token"] not in shown and door["address"] not in shown
    assert '"live": {"streams": ' in shown
    assert Path(door["address"].removeprefix("unix:")).parent.stat().st_mode & 0o077 == 0
