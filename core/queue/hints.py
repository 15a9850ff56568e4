"""Wake-ups. A hint carries a job id and nothing else: losing one costs latency, never work.

`Doorbell` wakes the consumer of the same machine (solo), `CeleryHints` puts a message on Redis or
Valkey (cluster), `MemoryHints` remembers what was sent (tests).
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from pathlib import Path
from typing import Any, Protocol

log = logging.getLogger(__name__)

TASK = "parascribe.wake"
"""Name of the Celery task; the API sends by name, since it never imports `worker`."""

QUEUE = "parascribe"


class HintSender(Protocol):
    """Best effort by design: `send` returns False when the hint could not be handed over."""

    def send(self, job_id: str) -> bool: ...

    def ping(self) -> None:
        """Raises ConnectionError (or an OSError) when the broker cannot be reached."""
        ...

    def close(self) -> None: ...


class MemoryHints:
    """Keeps the ids; `down=True` plays a broker that cannot be reached."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.down = False

    def send(self, job_id: str) -> bool:
        if not self.down:
            self.ids.append(job_id)
        return not self.down

    def ping(self) -> None:
        if self.down:
            raise ConnectionError("broker is down")

    def close(self) -> None:
        """Nothing to close."""


class Doorbell:
    """A datagram socket in the runtime folder: ring() never blocks, and nobody has to listen."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def listen(self) -> socket.socket:
        """Bind (replacing a dead listener's socket); read datagrams from what is returned."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        bell.setblocking(False)
        bell.bind(os.fspath(self.path))
        return bell

    def send(self, job_id: str) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.setblocking(False)
            try:
                s.sendto(job_id.encode(), os.fspath(self.path))
            except OSError:
                return False
        return True

    def ping(self) -> None:
        """Polling works without anybody listening."""

    def close(self) -> None:
        """Nothing is kept open."""


class PollOnly:
    """No broker and no doorbell: consumers find jobs by polling."""

    def send(self, job_id: str) -> bool:
        return True

    def ping(self) -> None:
        """Nothing to reach."""

    def close(self) -> None:
        """Nothing to close."""


def celery_settings() -> dict[str, Any]:
    """What both sides of the queue agree on; the reasons are in docs/explanation/reliability.md."""
    return {
        # Correctness comes from the lease; the timeout is only a backstop. Without socket_timeout a
        # half-open connection hangs for minutes.
        "broker_transport_options": {
            "visibility_timeout": 3600,
            "unacked_restore_interval": 15,
            "unacked_restore_throttle": 1,
            "socket_timeout": 15,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
        "task_acks_late": False,  # the lease protects the work; late ack only adds double wake-ups
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "task_ignore_result": True,
        "result_backend": None,
        "task_store_errors_even_if_ignored": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # the API must not hang on a dead broker: the outbox covers what is not sent
        "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2},
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_default_queue": QUEUE,
        "task_create_missing_queues": False,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
    }


class CeleryHints:
    """Sends by task name through Celery on Redis or Valkey."""

    def __init__(self, broker_url: str) -> None:
        from celery import Celery
        from kombu import Queue

        self.app = Celery("parascribe", broker=broker_url)
        self.app.conf.update(celery_settings(), task_queues=(Queue(QUEUE),))
        self._away = False

    def send(self, job_id: str) -> bool:
        try:
            self.app.send_task(TASK, args=(job_id,), queue=QUEUE, ignore_result=True)
        except Exception as error:  # kombu, redis and socket errors have no common base
            if not self._away:  # said once, not at each try of a long outage
                log.warning(
                    "Broker cannot be reached (%s): consumers look for jobs in the table meanwhile",
                    type(error).__name__,
                )
            self._away = True
            return False
        if self._away:
            log.info("Broker is reached again")
        self._away = False
        return True

    def ping(self) -> None:
        with self.app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=3)

    def close(self) -> None:
        self.app.close()
