"""Sends deliveries: one thread looks for those whose time has come, a few send. Safe to run in every API process at once.

A process that dies between an attempt and noting what came of it leaves the delivery to another, once its lease is over:
the receiver gets it once more, under the same `webhook-id`.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Protocol

from api.webhooks.bodies import Data, body_of
from core.errors import Cancelled, ServiceError
from core.outbound.values import Post
from core.store.protocols import Upkeep
from core.store.webhooks import Deliveries
from core.system.crashpoints import reached
from core.webhooks import SCHEDULE, Due, Outcome, signed

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
LEASE_SECONDS = 60.0
"""Longer than an attempt can take (`ATTEMPT_SECONDS` of the wiring) and its outcome to be noted."""

THREADS = 16
PER_RECEIVER = 4
"""One receiver that does not answer must not keep the others waiting."""

JITTER = 0.2
"""What failed together does not come again together: each waits up to so much longer."""

GRACE_SECONDS = 3.0
"""What is under way when the process is to end gets so long."""

FORGET_TURN = 3600.0

GONE = 410


class SenderStore(Deliveries, Upkeep, Protocol):
    """What the sender asks of the store."""


class WebhookSender:
    """post: sends one; made at first need
    data: what is sent of a subject, by what its events are about
    tell: told of each attempt how it went (delivered, put_off, failed) and how many seconds it took
    """

    def __init__(
        self,
        store: SenderStore,
        post: Callable[[], Post],
        data: Mapping[str, Data],
        *,
        tell: Callable[[str, float], None] = lambda outcome, seconds: None,
    ) -> None:
        self._tell = tell
        self._store, self._make_post, self._data = store, post, data
        self._wake, self._stop, self._cancel = threading.Event(), threading.Event(), threading.Event()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="webhook")
        self._busy: Counter[str] = Counter()
        self._begun: set[Future[None]] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._next_forget = 0.0

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """What is not over in `GRACE_SECONDS` is broken off, and tried again when its lease is over."""
        self._stop.set()
        self._wake.set()
        if self._thread:
            self._thread.join(5)
        wait(set(self._begun), GRACE_SECONDS)
        self._cancel.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def send_due(self) -> int:
        """Begin all that can be begun now; returns how many."""
        with self._lock:
            busy = dict(self._busy)
        room = THREADS - sum(busy.values())
        if room <= 0:
            return 0
        found = self._store.claim_deliveries(
            limit=room, lease_seconds=LEASE_SECONDS, per_receiver=PER_RECEIVER, busy=busy
        )
        for due in found:
            reached("after_claim_delivery")
            with self._lock:
                self._busy[due.receiver] += 1
            future = self._pool.submit(self._attempt, due)
            self._begun.add(future)
            future.add_done_callback(self._begun.discard)
        return len(found)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                begun = self.send_due()
                self._forget()
            except ServiceError as error:
                log.warning("Webhooks are put off: %s", error.message)
                begun = 0
            except Exception:
                log.exception("Webhooks are put off")
                begun = 0
            if not begun:
                self._wake.wait(LOOK_SECONDS)
                self._wake.clear()

    def _forget(self) -> None:
        """Those of long ago; asked for a turn now and then, since asking writes."""
        if time.monotonic() >= self._next_forget:
            self._next_forget = time.monotonic() + FORGET_TURN
            if self._store.take_turn("deliveries", every=0.9 * FORGET_TURN):
                self._store.forget_deliveries()

    def _attempt(self, due: Due) -> None:
        began = time.monotonic()
        try:
            outcome = self._outcome(due)
            if outcome is not None:
                self._tell(_called(outcome), time.monotonic() - began)
                reached("after_send_delivery")
                self._note(due, outcome)
        except ServiceError as error:
            log.warning("What came of delivery %s could not be noted: %s", due.delivery.id, error.message)
        finally:
            with self._lock:
                self._busy -= Counter([due.receiver])
            self._wake.set()

    def _outcome(self, due: Due) -> Outcome | None:
        """None: nothing can be said of it. What cannot be made, ever, is an attempt that failed: it comes to an end."""
        try:
            return self._send(due)
        except ServiceError:
            raise
        except Exception:
            log.exception("Delivery %s was broken off", due.delivery.id)
            error = "Something went wrong inside the service; its log says more."
            return Outcome(delivered=False, error=error, retry_in=pause(due.delivery.attempts))

    def _send(self, due: Due) -> Outcome | None:
        delivery = due.delivery
        body = body_of(delivery, self._data)
        if body is None:
            return Outcome(delivered=False, error="What it was about has been deleted.")
        headers = {"Content-Type": "application/json", **signed(delivery.id, body, due.secrets)}
        try:
            answer = self._make_post().post(due.url, body.encode(), headers, cancel=self._cancel)
        except Cancelled:
            return None
        except ServiceError as error:
            return Outcome(delivered=False, error=f"{error.code}: {error.message}", retry_in=pause(delivery.attempts))
        if 200 <= answer.status < 300:
            return Outcome(delivered=True, status=answer.status)
        if answer.status == GONE:
            return Outcome(delivered=False, gone=True, status=GONE)
        return Outcome(delivered=False, status=answer.status, retry_in=pause(delivery.attempts))

    def _note(self, due: Due, outcome: Outcome) -> None:
        self._store.settle(due, outcome)
        delivery = due.delivery
        if outcome.delivered:
            log.info("Delivered %s of %s (%s)", delivery.event, delivery.subject, delivery.id)
        else:
            said = outcome.error or f"the answer was {outcome.status}"
            log.warning(
                "Attempt %d to deliver %s of %s (%s): %s",
                delivery.attempts,
                delivery.event,
                delivery.subject,
                delivery.id,
                said,
            )


def _called(outcome: Outcome) -> str:
    if outcome.delivered:
        return "delivered"
    return "failed" if outcome.retry_in is None else "put_off"


def pause(attempts: int) -> float | None:
    """Seconds until the next attempt after so many; None after the last."""
    if attempts >= len(SCHEDULE):
        return None
    return SCHEDULE[attempts] * random.uniform(1.0, 1.0 + JITTER)
