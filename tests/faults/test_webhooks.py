"""Row 30: the API dies between the end of a job and its webhook; receivers that are down or lead elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import psutil
import pytest
from sqlalchemy import update

from core.store.tables import delivery
from core.webhooks import CALLBACK, Delivery
from testbed.faults.rig import Rig
from testbed.faults.waiting import wait_for
from tests.api.receiver import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


def told(rig: Rig, job: str) -> Delivery:
    (found,) = (one for one in rig.store.webhooks_of(None).deliveries(CALLBACK)[0] if one.subject == job)
    return found


def lease_over(rig: Rig) -> None:
    """As a minute later, or half of one after an attempt that failed."""
    with rig.store.database.write() as connection:
        connection.execute(update(delivery).where(delivery.c.due.is_not(None)).values(due=0.0))


def test_30_kill_9_of_the_api_before_and_after_it_has_sent(solo: Rig, receiver: Receiver) -> None:
    def api() -> psutil.Process:
        """Once it can be asked."""
        wait_for(lambda: solo.get("/readyz").status_code == httpx.codes.OK)
        return solo.processes("testbed.faults.api_main")[-1]

    now = api()
    solo.arm_now(now, "after_claim_delivery", "after_send_delivery")
    job = solo.upload(8, callback_url=receiver.url)
    assert solo.ended(job).status.value == "completed"
    for attempts, came in ((1, 0), (2, 1)):
        wait_for(lambda now=now: [one for one in solo.processes("testbed.faults.api_main") if one != now])
        assert (len(receiver.messages), told(solo, job).attempts) == (came, attempts), "it died, and had noted nothing"
        assert told(solo, job).status == "waiting"
        now = api()
        lease_over(solo)
    wait_for(lambda: told(solo, job).status == "delivered")
    ids = {message.id for message in receiver.messages}
    assert ids == {told(solo, job).id} and len(receiver.messages) == 2, "the same id: who has had it knows it again"
    assert [message.body["data"]["id"] for message in receiver.messages] == [job] * 2


def test_30_a_receiver_that_is_down_slow_or_leads_elsewhere(solo: Rig, receiver: Receiver) -> None:
    receiver.answers, receiver.redirect = [302, 503, 200], "http://169.254.169.254/latest/meta-data/"
    job = solo.upload(8, callback_url=receiver.url)
    assert solo.ended(job).status.value == "completed", "whatever becomes of the message"
    for status in (302, 503):
        wait_for(lambda status=status: told(solo, job).last_status == status and told(solo, job).status == "waiting")
        lease_over(solo)
    wait_for(lambda: told(solo, job).status == "delivered")
    assert (told(solo, job).attempts, len({message.raw for message in receiver.messages})) == (3, 1)
