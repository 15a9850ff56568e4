"""The pool of job processes with Celery: the message wakes, the table decides."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from typing import Any

from billiard import current_process
from celery import Celery, signals
from kombu import Queue

from core.queue.hints import QUEUE, TASK, celery_settings
from worker.context.parts import Parts
from worker.pools.slots import Slots
from worker.pools.turn import take_turn
from worker.stop import Stop

log = logging.getLogger(__name__)


def make_celery(broker_url: str, parts: Parts, slots: Slots, stop: Stop, *, after_fork: Callable[[], None]) -> Celery:
    """An app whose one task takes turns until no job is waiting.

    A lost message is covered by the outbox and the sweeper, a doubled one finds nothing to claim.
    """
    app = Celery("parascribe", broker=broker_url, set_as_current=False)
    app.conf.update(celery_settings(), task_queues=(Queue(QUEUE),))

    @app.task(name=TASK, bind=False, ignore_result=True)
    def wake(job_id: str) -> None:
        index = getattr(current_process(), "index", 0)
        misses = 0
        while misses < 2 and not stop.is_set():
            # a claim passes over a row that is being written to at that moment: a lone wake-up asks twice
            misses = 0 if take_turn(parts, slots, index, stop) else misses + 1
            if misses == 1:
                time.sleep(0.05)

    @signals.worker_ready.connect(weak=False)
    def _look(sender: Any, **_: object) -> None:
        """Hints are sent for slots that are known to be free: what waited while nobody was here is found by looking."""
        for _slot in range(slots.count):
            app.send_task(TASK, args=("",), queue=QUEUE, ignore_result=True)

    # weak=False: the handlers are closures, nobody else keeps them
    @signals.worker_process_init.connect(weak=False)
    def _child(**_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        after_fork()

    @signals.worker_shutting_down.connect(weak=False)
    def _shutdown(**_: object) -> None:
        stop.set()

    @signals.setup_logging.connect(weak=False)
    def _keep_logging(**_: object) -> None:
        """Logging is set up already; a connected handler keeps Celery from doing its own."""

    return app


def run_celery(app: Celery, *, slots: int, name: str) -> None:
    """Blocks until SIGTERM; a prefork pool of `slots` processes, without gossip and mingle (they slow reconnects)."""
    app.worker_main(
        [
            "worker",
            "--pool=prefork",
            f"--concurrency={slots}",
            f"--hostname={name}@%h",
            "--loglevel=INFO",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "--max-tasks-per-child=200",
        ]
    )
