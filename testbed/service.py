"""The real service as a user starts it: `parascribe serve` in a folder of its own."""

from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import psutil

from core.system import processes
from testbed import audio_bank
from testbed.faults.waiting import pause
from testbed.verdicts import engine_dir

ENDED = ("completed", "failed", "cancelled")
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""`verify` of httpx where nothing is encrypted: else it reads all certificates of the world for each request, 30 ms of CPU."""


class Api:
    """Requests to a running service; raw httpx, so that the tests do not lean on our own client."""

    url = ""
    log = ""

    def submit(self, path: Path, **params: Any) -> dict[str, Any]:
        with path.open("rb") as data:
            answer = httpx.post(
                f"{self.url}/api/v1/jobs",
                files={"file": (path.name, data)},
                timeout=60,
                verify=PLAIN,
                data={
                    key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in params.items()
                },
            )
        assert answer.status_code == 202, answer.text
        return cast("dict[str, Any]", answer.json())

    def job(self, job_id: str) -> dict[str, Any]:
        answer = httpx.get(f"{self.url}/api/v1/jobs/{job_id}", timeout=30, verify=PLAIN)
        assert answer.status_code == 200, answer.text
        return cast("dict[str, Any]", answer.json())

    def wait(
        self, job_id: str, until: Callable[[dict[str, Any]], bool] | None = None, seconds: float = 240.0
    ) -> dict[str, Any]:
        until = until or (lambda job: job["status"] in ENDED)
        deadline = time.monotonic() + seconds
        job, known = self.job(job_id), ""
        while not until(job):
            assert time.monotonic() < deadline, f"not within {seconds} s: {job}\n{self.log[-6000:]}"
            try:  # told of a change, instead of asked thirty times a second beside the work that is waited for
                answer = httpx.get(
                    f"{self.url}/api/v1/jobs/{job_id}",
                    params={"wait": "1"},
                    headers={"If-None-Match": known},
                    timeout=30,
                    verify=PLAIN,
                )
            except httpx.TransportError:  # whoever held the question is gone
                job, known = self.job(job_id), ""
                continue
            if answer.status_code != httpx.codes.NOT_MODIFIED:
                assert answer.status_code == 200, answer.text
                job, known = answer.json(), answer.headers["etag"]
            else:
                time.sleep(0.02)  # of a job that has ended nobody waits
        return job

    def result(self, job_id: str, fmt: str = "json") -> httpx.Response:
        return httpx.get(f"{self.url}/api/v1/jobs/{job_id}/result", params={"format": fmt}, timeout=60, verify=PLAIN)


class Service(Api):
    """One running `parascribe serve`; `log` is all it printed."""

    program = "serve"
    ready_line = r"ready on (http://[0-9.:]+)"
    """What it prints once it can be asked, and where."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.log_file = folder / "service.log"
        self.env = (
            {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG", "CI", "TMPDIR")}
            | {
                "API_PORT": "0",
                "DATA_DIR": str(folder / "data"),
                "WHISPER_MODEL": "demo",
                "SWEEP_SECONDS": "1",
                "LEASE_SECONDS": "6",
                "ENGINE_DIR": str(engine_dir()),
                "LIVE_ENABLED": "false",  # a process more at each start; tests of streams want it
                # what the tests see shall not depend on who else is at work here
                "CPU_PRESSURE_LIMIT": "0",
                "ENGINE_NICE": "0",
            }
            | env
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def start(self, *, wait: bool = True) -> Service:
        seen = self.log_file.stat().st_size if self.log_file.exists() else 0
        with self.log_file.open("ab") as log:
            # in the folder, and dead when the tests are
            command = [
                "/bin/sh",
                "-c",
                'cd "$0" && exec "$@"',
                str(self.folder),
                sys.executable,
                "-m",
                "parascribe",
                self.program,
            ]
            self.process = processes.spawn(command, stdout=log, stderr=log, env=self.env)
        if wait:
            found = self.wait_log(self.ready_line, since=seen)
            self.url = found[1]
        return self

    @property
    def log(self) -> str:  # type: ignore[override]
        return self.log_file.read_text("utf-8", "replace")

    def wait_log(self, pattern: str, *, since: int = 0, seconds: float = 90.0) -> re.Match[str]:
        began = time.monotonic()
        while (waited := time.monotonic() - began) < seconds:
            text = self.log_file.read_bytes()[since:].decode("utf-8", "replace")
            if found := re.search(pattern, text):
                return found
            assert self.process is None or self.process.poll() is None, f"the service ended:\n{text[-4000:]}"
            time.sleep(pause(waited))
        raise AssertionError(f"{pattern!r} not in the log within {seconds} s:\n{self.log[-6000:]}")

    def family(self) -> list[psutil.Process]:
        """All processes of this service, found by the folder in their environment or by descent."""
        mark = f"DATA_DIR={self.env['DATA_DIR']}"
        found = []
        for process in psutil.process_iter():
            try:
                if mark.encode() in Path(f"/proc/{process.pid}/environ").read_bytes():
                    found.append(process)
            except OSError:
                continue
        return found

    def processes(self, title: str) -> list[psutil.Process]:
        """Those whose command line or title contains a text."""
        found = []
        for process in self.family():
            try:
                if title in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return sorted(
            found, key=lambda process: process.create_time()
        )  # a parent before its children, whatever their pids

    def stop(self, number: int = signal.SIGTERM, seconds: float = 40.0) -> int:
        """Signal, wait, and prove that nothing is left."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(seconds)
        self.assert_gone()
        return code

    def assert_gone(self, seconds: float = 5.0) -> None:
        began = time.monotonic()
        while (left := self.family()) and (waited := time.monotonic() - began) < seconds:
            time.sleep(pause(waited))
        names = []
        for process in left:
            try:
                names.append(f"{process.pid} {process.cmdline()}")
            except psutil.Error:
                continue
        assert not names, f"processes left behind: {names}"


@contextmanager
def running(folder: Path, **env: str) -> Iterator[Service]:
    """A started service that is stopped (and whose processes are proven gone) at the end."""
    service = Service(folder, **env).start()
    try:
        yield service
    finally:
        if service.process is not None and service.process.poll() is None:
            service.stop()


def audio(folder: Path, name: str = "talk.wav", **spec: Any) -> tuple[Path, dict[str, Any]]:
    """A spoken file and its truth; `spec` as in testbed.audio_bank.speech."""
    pcm, truth = audio_bank.speech(**spec)
    audio_bank.write(folder / name, pcm)
    return folder / name, truth
