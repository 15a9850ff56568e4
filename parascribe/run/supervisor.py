"""Starts the service's processes, restarts what dies, stops everything in order. Loads no model and no audio."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from core.system.processes import spawn, stop

log = logging.getLogger(__name__)

BACKOFF = (0.2, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before the n-th restart in a row; a child that ran for STEADY seconds starts over."""

STEADY = 60.0

API_SHUTDOWN_SECONDS = 5
"""Requests in flight at SIGTERM get so long; an upload that takes longer is cut, and its client knows."""

WANTED_SECONDS = 0.5
"""How often children are asked whether they are wanted. That one has ended is heard at once."""


@dataclass(kw_only=True)
class Child:
    """One process of the service.

    grace: seconds it gets after SIGTERM before SIGKILL
    wanted: asked all the time; while it says no, the child is stopped and not started again
    failures: deaths in a row; restarts: deaths in all
    """

    name: str
    command: Sequence[str]
    env: dict[str, str]
    grace: float = 5.0
    pass_fds: tuple[int, ...] = ()
    wanted: Callable[[], bool] = lambda: True
    process: subprocess.Popen[bytes] | None = None
    failures: int = 0
    restarts: int = 0
    started: float = 0.0
    restart_at: float = field(default=0.0)
    asked_to_stop: bool = False

    def start(self) -> None:
        """Raises OSError."""
        self.process = spawn(
            self.command, env=self.env, stdout=sys.stdout.fileno(), stderr=sys.stderr.fileno(), pass_fds=self.pass_fds
        )
        self.started = time.monotonic()
        self.asked_to_stop = False  # of the process before, if that was wanted again before it had ended


class Supervisor:
    """`children` start in order and stop in reverse. Ctrl-C or SIGTERM stops cleanly, a second one hurries.

    Children are in sessions of their own: a terminal's Ctrl-C reaches the supervisor alone. They die with
    the main thread of this process (parent-death signal), so `run` must be called there.
    """

    def __init__(self, children: Sequence[Child]) -> None:
        self._children = list(children)
        self._signals = 0

    def run(self) -> int:
        """Returns the exit code: 0 after a wished-for end."""
        woken, wake = os.pipe()  # an Event could not be set by a handler that interrupts its own wait
        for end in (woken, wake):
            os.set_blocking(end, False)
        wake_before = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        before = {s: signal.signal(s, self._on_signal) for s in (signal.SIGTERM, signal.SIGINT)}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            for child in self._children:
                if not self._signals and child.wanted():
                    child.start()
            while not self._signals:
                self._look_after()
                if select.select([woken], [], [], self._pause())[0]:
                    os.read(woken, 4096)
            self._stop_all()
        finally:
            for child in self._children:
                if child.process is not None:
                    stop(child.process)
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wake_before)
            os.close(woken)
            os.close(wake)
        return 0

    def _on_signal(self, *_: object) -> None:
        self._signals += 1

    def _pause(self) -> float:
        """Seconds until there may be something to do, if no signal comes."""
        now = time.monotonic()
        return min(
            [WANTED_SECONDS, *(c.restart_at - now for c in self._children if c.process is None and c.restart_at > now)]
        )

    def _look_after(self) -> None:
        now = time.monotonic()
        for child in self._children:
            process, wanted = child.process, child.wanted()
            if process is not None and not wanted:
                self._let_go(child, process)
            elif process is not None and process.poll() is not None:
                stop(process)
                child.process = None
                child.restarts += 1
                child.failures = 0 if now - child.started > STEADY else child.failures + 1
                wait = _put_off(child, now)
                log.error("%s ended (%s); starting it again in %.1f s", child.name, _describe(process.returncode), wait)
            elif process is None and wanted and now >= child.restart_at:
                try:
                    child.start()
                except OSError as error:  # no memory or no process number left, or an upgrade is replacing the files
                    child.failures += 1
                    wait = _put_off(child, now)
                    log.error(
                        "%s could not be started (%s); trying again in %.1f s",
                        child.name,
                        error.strerror or error,
                        wait,
                    )
                else:
                    log.info("Started %s%s", child.name, " again" if child.failures else "")

    def _let_go(self, child: Child, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is not None:
            stop(process)
            child.process, child.asked_to_stop = None, False
            log.info("Stopped %s", child.name)
        elif not child.asked_to_stop:
            process.send_signal(signal.SIGTERM)
            child.asked_to_stop = True

    def _stop_all(self) -> None:
        log.info("Stopping; press Ctrl-C again to hurry")
        for child in reversed(self._children):
            process = child.process
            if process is None or process.poll() is not None:
                continue
            process.send_signal(signal.SIGTERM)
            asked, hurried = time.monotonic(), False
            deadline = asked + child.grace
            while process.poll() is None and time.monotonic() < deadline:
                # the wish to hurry is for all that still run; two signals at once would reach a child as one
                if self._signals > 1 and not hurried and time.monotonic() >= asked + 0.1:
                    hurried = True
                    process.send_signal(signal.SIGTERM)
                    deadline = min(deadline, time.monotonic() + 5.0)
                time.sleep(0.02)
            if process.poll() is None:
                log.warning("%s did not stop within %.0f s and is killed", child.name, child.grace)
        log.info("Stopped")


def _put_off(child: Child, now: float) -> float:
    """Set when the child is started again; returns the seconds until then."""
    wait = BACKOFF[min(child.failures, len(BACKOFF)) - 1] if child.failures else BACKOFF[0]
    child.restart_at = now + wait
    return wait


def _describe(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def listen(host: str, port: int) -> socket.socket:
    """Bind the API's socket here, so that a port in use is said at once and an API restart refuses nobody.

    Raises OSError.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(1024)
    except BaseException:
        sock.close()
        raise
    os.set_inheritable(sock.fileno(), True)
    return sock
