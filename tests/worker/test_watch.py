"""What the consumer's watch does while a part of the service does not answer."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from core.system import identity
from tests.worker.kit import Kit, talk
from worker.context.lease_keeper import cancel_flag
from worker.watch import ConsumerWatch


def test_an_engine_that_does_not_answer_holds_up_no_cancel(tmp_path: Path) -> None:
    kit = Kit(tmp_path)
    job = kit.submit(talk(tmp_path, minutes=0.1))
    assert kit.store.claim(owner=identity.owner("test"), consumer="test", lease_seconds=30) is not None
    asked, let_go = threading.Event(), threading.Event()

    def info() -> dict[str, Any]:
        asked.set()
        let_go.wait(30)
        return {}

    work = kit.parts.settings.work
    watch = ConsumerWatch(kit.store, "test", work, info)
    watch.start()
    try:
        assert asked.wait(10)
        kit.store.request_cancel(job.id)
        deadline = time.monotonic() + 10
        while not cancel_flag(work, job.id).exists():
            assert time.monotonic() < deadline, "the cancel was not passed on"
            time.sleep(0.01)
    finally:
        let_go.set()
        watch.stop()
