"""Row 30: the API dies between the end of a job and its webhook; receivers that are down or lead elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import update

from core.store.tables import delivery
from core.webhooks import CALLBACK, Delivery
from testbed.faults.rig import Rig
from testbed.faults.waiting import wait_for
from tests.api.receiver import Receiver, receiving

OPEN = {"WEBHOOK_ALLOW_PRIVATE": "true"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


def told(rig: Rig) -> Delivery:
    (found,), _ = rig.store.webhooks_of(None).deliveries(CALLBACK)
    return found


def lease_over(rig: Rig) -> None:
    """As a minute later, or half of one after an attempt that failed."""
    with rig.store.database.write() as connection:
        connection.execute(update(delivery).where(delivery.c.due.is_not(None)).values(due=0.0))


@pytest.mark.parametrize(("point", "came"), [("after_claim_delivery", 0), ("after_send_delivery", 1)])
def test_30_kill_9_of_the_api_before_and_after_it_has_sent(
    own_solo: Callable[..., Rig], receiver: Receiver, point: str, came: int
) -> None:
    rig = own_solo(script={"delay": 0.02, "crash": {"role": "api", "point": point}}, **OPEN)
    first = rig.processes("testbed.faults.api_main")[0].pid
    job = rig.upload(8, callback_url=receiver.url)
    assert rig.ended(job).status.value == "completed"
    wait_for(lambda: [one for one in rig.processes("testbed.faults.api_main") if one.pid != first])
    assert len(receiver.messages) == came and told(rig).attempts == 1, "it died, and had noted nothing"
    assert told(rig).status == "waiting"
    lease_over(rig)
    wait_for(lambda: told(rig).status == "delivered")
    ids = {message.id for message in receiver.messages}
    assert ids == {told(rig).id} and len(receiver.messages) == came + 1, "the same id: who has had it knows it again"
    assert [message.body["data"]["id"] for message in receiver.messages] == [job] * (came + 1)
    rig.check()


def test_30_a_receiver_that_is_down_slow_or_leads_elsewhere(own_solo: Callable[..., Rig], receiver: Receiver) -> None:
    rig = own_solo(script={"delay": 0.02}, **OPEN)
    receiver.answers, receiver.redirect = [302, 503, 200], "http://169.254.169.254/latest/meta-data/"
    job = rig.upload(8, callback_url=receiver.url)
    assert rig.ended(job).status.value == "completed", "whatever becomes of the message"
    for status in (302, 503):
        wait_for(lambda status=status: told(rig).last_status == status and told(rig).status == "waiting")
        lease_over(rig)
    wait_for(lambda: told(rig).status == "delivered")
    assert (told(rig).attempts, len({message.raw for message in receiver.messages})) == (3, 1)
    rig.check()
