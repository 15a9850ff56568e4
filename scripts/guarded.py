"""A child process that cannot outlive its parent, however the parent dies.

Between parent and child stands this file run as a program: it starts the child, waits for a word (or
for the end of file, when the parent is gone) on its standard input, and then stops the child: first
with the polite signal, after the grace time with SIGKILL. It works on every Unix and from any thread;
a parent-death signal does neither (it fires when the *thread* that forked ends).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LOG_TAIL_BYTES = 4000

KILLED_SECONDS = 10.0
"""How long the dying of what was killed may take; memory of size comes first, on a busy machine."""


class GuardedProcess:
    """One running child. It is started by the constructor and stopped by `stop`, `kill`, or our own end.

    command: program and arguments
    log: file that receives the child's output (appended to)
    stop_signal, grace: how it is asked to stop, and seconds until it is killed
    user: numeric user (and group) to run as; only root may give one
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        grace: float = 10.0,
        user: int | None = None,
    ) -> None:
        order = {
            "command": list(command),
            "log": str(log),
            "cwd": str(cwd) if cwd else None,
            "stop_signal": int(stop_signal),
            "grace": grace,
            "user": user,
        }
        self.log = log
        self._log_start = log.stat().st_size if log.exists() else 0
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).resolve()), json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=env,
            start_new_session=True,  # Ctrl-C in the terminal is for the parent, which stops its children in order
        )
        assert self._guard.stdout is not None
        answer = self._guard.stdout.readline().strip()
        if not answer.isdigit():
            self._close()
            raise OSError(f"cannot start {command[0]}: {answer.decode() or 'the guard died'}")
        self.pid = int(answer)

    def poll(self) -> int | None:
        """None while it runs, then its exit status (negative: the signal that ended it)."""
        status = self._guard.poll()
        return status if status is None or status < 128 else 128 - status

    def stop(self) -> int:
        """Ask it to stop, wait, kill it after the grace time; returns the exit status. Calling again is fine."""
        self.resume()
        assert self._guard.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):  # it may have ended already
            self._guard.stdin.write(b"stop\n")
            self._guard.stdin.flush()
        return self._close()

    def kill(self) -> None:
        """SIGKILL to the child and all below it, as a power cut would; what they held is free when this returns."""
        family = self._family()
        for pid in family:
            _signal(pid, signal.SIGKILL)
        deadline = time.monotonic() + KILLED_SECONDS
        while any(map(_lives, family)) and time.monotonic() < deadline:
            time.sleep(0.005)
        self._close()

    def pause(self) -> None:
        """Freeze the child and all below it (SIGSTOP): connections stay open and nothing answers."""
        for pid in self._family():
            _signal(pid, signal.SIGSTOP)

    def resume(self) -> None:
        if self._guard.poll() is None:
            for pid in self._family():
                _signal(pid, signal.SIGCONT)

    def tail(self) -> str:
        """The end of what it has written to its log, for error messages."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            file.seek(max(self._log_start, self.log.stat().st_size - LOG_TAIL_BYTES))
            return file.read().decode(errors="replace").strip()

    def _family(self) -> list[int]:
        import psutil  # not at the top: as a program this file runs without site-packages

        try:
            parent = psutil.Process(self.pid)
            return [self.pid, *(child.pid for child in parent.children(recursive=True))]
        except psutil.NoSuchProcess:
            return []

    def _close(self) -> int:
        self._guard.wait()
        for pipe in (self._guard.stdin, self._guard.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        return self.poll() or 0


def _lives(pid: int) -> bool:
    import psutil  # as above

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _guard(order: dict[str, Any]) -> None:
    """Run as the guard: start the child, report its pid, stop it when told or when the parent has gone."""
    user = order["user"]
    with open(order["log"], "ab") as log:
        try:
            child = subprocess.Popen(
                order["command"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=order["cwd"],
                user=user,
                group=user,
                extra_groups=None if user is None else [],
                start_new_session=True,
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            print(error, flush=True)
            sys.exit(1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # after the child, which would inherit it
        signal.signal(number, signal.SIG_IGN)
    print(child.pid, flush=True)

    def end_with_child() -> None:
        status = child.wait()
        os._exit(status if status >= 0 else 128 - status)

    threading.Thread(target=end_with_child, daemon=True).start()
    os.read(0, 1)
    child.send_signal(order["stop_signal"])
    try:
        child.wait(order["grace"])
    except subprocess.TimeoutExpired:
        child.kill()
    threading.Event().wait()  # until end_with_child has ended this process


if __name__ == "__main__":
    _guard(json.loads(sys.argv[1]))
