"""A whole installation under test: real processes and servers, a scripted engine, a proxy before each server."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
from sqlalchemy import text

from core.objects.local import LocalObjects
from core.objects.s3 import S3Objects
from core.objects.store import ObjectStore
from core.store.database import open_database
from core.store.sql import SqlStore
from core.system import processes
from testbed.faults import made
from testbed.faults.servers import Servers
from testbed.faults.waiting import wait_for, writable
from testbed.service import PLAIN, Service

ROOT = Path(__file__).resolve().parents[2]


class Installation(Service):
    """`servers=None`: solo, one supervisor with everything. Else an API and `consumers` consumers of a cluster.

    script: as in testbed/faults/script.py; scripts: other ones for the n-th consumer
    """

    def __init__(
        self,
        folder: Path,
        servers: Servers | None = None,
        *,
        consumers: int = 1,
        script: Mapping[str, Any] | None = None,
        scripts: Mapping[int, Mapping[str, Any]] | None = None,
        **env: str,
    ) -> None:
        defaults = {
            "LEASE_SECONDS": "6",
            "SWEEP_SECONDS": "0.5",
            "CHUNK_STRATEGY": "fixed",
            "CHUNK_DURATION": str(made.CHUNK_SECONDS),
            "MAX_PARALLEL_WORKERS": "2",
            "MAX_CONCURRENT_JOBS": "1",
            "WHISPER_EXECUTABLE": sys.executable,
            "SHUTDOWN_SECONDS": "5",
            "PYTHONPATH": str(ROOT),
            "MIN_FREE_DISK_MB": "0",
        }
        super().__init__(folder, **(defaults | (servers.environment() if servers else {}) | env))
        self.servers, self._count = servers, consumers
        self.calls, self.gate = folder / "calls", folder / "gate"
        self._scripts = {0: dict(script or {"delay": 0.1})} | {n: dict(s) for n, s in (scripts or {}).items()}
        self.processes_: dict[str, subprocess.Popen[bytes]] = {}
        self._store: SqlStore | None = None

    # --- processes
    def start(self, *, wait: bool = True) -> Self:
        if self.servers is None:
            self.run("serve", "serve", 0)
            if wait:
                self.ready()
        else:
            self.start_api(wait=wait)
            for n in range(1, self._count + 1):
                self.start_consumer(n)
            if wait:
                wait_for(lambda: sum("consumer-" in str(work) for work in self.work) >= self._count, 90)
        return self

    def start_api(self, *, wait: bool = True) -> None:
        self.run("api", "api", 0)
        if wait:
            self.ready()

    def start_consumer(self, number: int = 1) -> None:
        self.run(f"consumer-{number}", "consumer", number, DATA_DIR=f"{self.env['DATA_DIR']}/consumer-{number}")

    def arm(self, *points: str, role: str = "api") -> None:
        """The next processes of this role die at these points, each at one of them, and those after them no more."""
        self._scripts[0]["crash"] = [{"role": role, "point": point} for point in points]
        self._write_script(0)
        for armed in self.folder.glob("script-0.json.armed-*"):
            armed.unlink()

    def arm_now(self, process: psutil.Process, *points: str) -> None:
        """As `arm`, but it begins with a process of the API that is running."""
        self.arm(*points)
        process.send_signal(signal.SIGUSR2)
        wait_for(lambda: list(self.folder.glob("script-0.json.armed-*")))

    def set_script(self, **script: Any) -> None:
        """For what is started from now on."""
        self._scripts[0] = script

    def _write_script(self, number: int) -> Path:
        file = self.folder / f"script-{number}.json"
        script = {"calls": str(self.calls), "gate": str(self.gate)} | self._scripts.get(number, self._scripts[0])
        new = file.with_suffix(".new")
        new.write_text(json.dumps(script))
        new.rename(file)  # a process that starts meanwhile reads one of the two
        return file

    def run(self, name: str, part: str, number: int, **env: str) -> None:
        file = self._write_script(number)
        if part != "consumer":  # they say no address
            self._since = self.log_file.stat().st_size if self.log_file.exists() else 0
        with self.log_file.open("ab") as log:
            self.process = self.processes_[name] = processes.spawn(  # dead when the tests are
                [sys.executable, "-m", "testbed.faults.program", part],
                stdout=log,
                stderr=log,
                env=self.env | {"PARASCRIBE_TEST_SCRIPT": str(file)} | env,
                cwd=self.folder,
            )

    def ready(self) -> None:
        self.url = self.wait_log(r"API on (http://[0-9.:]+)|ready on (http://[0-9.:]+)", since=self._since)[
            0
        ].rpartition(" ")[2]
        wait_for(lambda: self.get("/readyz").status_code == 200, 60)

    def get(self, path: str, seconds: float = 5.0) -> httpx.Response:
        try:
            return httpx.get(self.url + path, timeout=seconds, verify=PLAIN)
        except httpx.HTTPError:
            return httpx.Response(599)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 40.0) -> int:
        """All of it, and the proof that nothing is left."""
        code = 0
        for process in reversed(self.processes_.values()):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.send_signal(number)
        for process in self.processes_.values():
            code = process.wait(seconds) or code
        self.processes_.clear()
        self.assert_gone()
        return code

    def kill_all(self) -> None:
        """A power cut for our own processes."""
        for process in self.family():
            with suppress(psutil.Error):
                process.kill()
        for child in self.processes_.values():
            child.wait(10)
        self.processes_.clear()
        self.assert_gone()

    def live_door(self) -> dict[str, str]:
        """Where the one consumer's live process takes streams, and what lets in there; once it does."""

        def there() -> dict[str, str] | None:
            doors = [row.info.live for row in self.store.consumers() if row.info.live is not None]
            if not doors:
                return None
            path = doors[-1]["address"].removeprefix("unix:")
            with socket.socket(socket.AF_UNIX) as knocking, suppress(OSError):
                knocking.connect(path)
                return dict(doors[-1])
            return None

        found: dict[str, str] = wait_for(there, 30)
        return found

    def system(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/api/v1/system").json()
        return found

    # --- looks inside
    @property
    def store(self) -> SqlStore:
        """The database itself, past the proxy."""
        if self._store is None:
            url = self.servers.database_url if self.servers else f"sqlite:///{self.env['DATA_DIR']}/parascribe.db"
            self._store = SqlStore(open_database(url))
        return self._store

    @property
    def objects(self) -> ObjectStore:
        """The object store itself, past the proxy."""
        if self.servers is None:
            return LocalObjects(Path(self.env["DATA_DIR"]) / "objects")
        minio = self.servers.minio
        return S3Objects(
            endpoint=minio.endpoint,
            access_key=minio.access_key,
            secret_key=minio.secret_key,
            bucket=self.servers.bucket,
        )

    @property
    def work(self) -> list[Path]:
        return [path for path in Path(self.env["DATA_DIR"]).rglob("work") if path.is_dir()]

    def execute(self, statement: str, **values: object) -> None:
        with self.store.database.write() as connection:
            connection.execute(text(statement), values)

    def owner(self, job_id: str) -> int:
        """Pid of the job process that holds the lease."""

        def look() -> int:
            owner = self.store.get(job_id).lease_owner
            return int(owner.rpartition("/")[2].partition(":")[0]) if owner else 0

        return int(wait_for(look))

    def holder(self, job_id: str) -> str:
        """Name of the consumer (of a cluster) whose child holds the lease."""
        parents = {process.pid for process in psutil.Process(self.owner(job_id)).parents()}
        return next(name for name, process in self.processes_.items() if process.pid in parents)

    def kill_tree(self, name: str) -> None:
        """kill -9 of a consumer's or API's process and all below it."""
        process = self.processes_[name]
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
        process.kill()
        process.wait(10)

    def freeze(self, process: psutil.Process) -> None:
        """SIGSTOP at a moment when the process is not inside a transaction.

        SQLite has one write lock for all, and whoever is stopped with it in hand keeps it; on PostgreSQL the server
        ends such a transaction (core/store/postgres.py).
        """

        def stopped_outside() -> bool:
            process.suspend()
            wait_for(lambda: process.status() == psutil.STATUS_STOPPED)  # until then it may begin a transaction
            if self.servers is not None:
                return True
            if not writable(Path(self.env["DATA_DIR"]) / "parascribe.db"):
                process.resume()
                return False
            return True

        wait_for(stopped_outside, 10)

    def hold(self, chunks: int) -> None:
        """From now on each job gets so many chunks transcribed by each process that runs it, and waits with the others."""
        self.gate.write_text(str(chunks))

    def release(self) -> None:
        self.gate.unlink(missing_ok=True)

    def heal(self) -> None:
        """Everything that shall run runs again, all proxies pass, and no job is held."""
        self.release()
        if self._scripts[0].get("crash"):
            self.arm()
        if self.servers is None:
            if self.processes_["serve"].poll() is not None:
                self.run("serve", "serve", 0)
        else:
            for proxy in (self.servers.database, self.servers.broker, self.servers.storage):
                proxy.set("pass")
            if not self.servers.valkey.running:
                self.servers.valkey.start()
            for n in range(1, self._count + 1):
                if self.processes_[f"consumer-{n}"].poll() is not None:
                    self.start_consumer(n)
            if self.processes_["api"].poll() is not None:
                self.start_api(wait=False)
        for process in self.family():
            with suppress(psutil.Error):
                if process.status() == psutil.STATUS_STOPPED:
                    process.resume()
        if self.get("/readyz").status_code != httpx.codes.OK:
            self.ready()

    def close(self) -> None:
        self.kill_all()
        if self._store is not None:
            self._store.close()
        if self.servers is not None:
            self.servers.close()
