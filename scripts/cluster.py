"""The whole cluster profile on one machine, without Docker: `python -m scripts.cluster` (that is `make cluster`).

PostgreSQL, Valkey and MinIO, one API and some consumers, each a process of its own on a loopback port.
Every consumer has a data folder of its own, as it would on a host of its own; only the models are shared.
Settings not made here (WHISPER_MODEL, MAX_PARALLEL_WORKERS, ...) come from the caller's environment.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from scripts.guarded import GuardedProcess
from scripts.servers import Minio, Postgres, Server, Valkey, free_port

ROOT = Path(__file__).resolve().parent.parent
READY_TIMEOUT = 60.0
CONSUMER_GRACE = 90.0
"""Seconds a consumer gets to finish or hand back its chunks, as in docker-compose.yml."""


class Cluster:
    """A cluster that `start` starts and `stop` stops; data and passwords stay in `data` for the next start.

    data: folder of everything; logs are in its `logs`
    consumers: how many to start; more with `add_consumer`
    api_port: 0 = a free one
    env: settings for API and consumers, over those of our own environment
    """

    def __init__(
        self, data: Path, *, consumers: int = 2, api_port: int = 0, env: Mapping[str, str] | None = None
    ) -> None:
        self.data = data.resolve()
        self.postgres = Postgres(self.data / "postgres")
        self.valkey = Valkey(self.data / "valkey")
        self.minio = Minio(self.data / "minio")
        self.api_port = api_port or free_port()
        self.api: GuardedProcess | None = None
        self.consumers: list[GuardedProcess] = []
        self.database_url = ""
        self._wanted = consumers
        self._extra = dict(env or {})

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def servers(self) -> tuple[Server, ...]:
        return self.postgres, self.valkey, self.minio

    def start(self) -> Self:
        """Start everything; returns when the API accepts jobs. Raises RuntimeError with the log of what failed."""
        try:
            (self.data / "logs").mkdir(parents=True, exist_ok=True)
            for server in self.servers:
                server.start()
            self.database_url = self.postgres.create_database("parascribe")
            self.start_api()
            for _ in range(self._wanted):
                self.add_consumer()
        except BaseException:
            self.stop()
            raise
        return self

    def start_api(self) -> GuardedProcess:
        """Start the API (again, after a kill) and wait until it is ready."""
        self.api = self._run("api", "cmd/api/main.py", grace=15.0)
        deadline = time.monotonic() + READY_TIMEOUT
        with httpx.Client(timeout=5) as client:
            while True:
                try:
                    if client.get(f"{self.api_url}/readyz").status_code == httpx.codes.OK:
                        return self.api
                except httpx.HTTPError:
                    pass
                if self.api.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the API did not become ready:\n{self.api.tail()}")
                time.sleep(0.1)

    def add_consumer(self) -> GuardedProcess:
        """Start one more consumer, with a data folder of its own, and METRICS_PORT counted up from the first."""
        number = len(self.consumers) + 1
        first = int(os.environ.get("METRICS_PORT") or 0)
        port = first + len(self.consumers) if first else 0
        consumer = self._run(f"consumer-{number}", "cmd/consumer/main.py", grace=CONSUMER_GRACE, METRICS_PORT=str(port))
        self.consumers.append(consumer)
        return consumer

    def stop(self) -> None:
        """Stop cleanly what runs: consumers (together), then the API, then the servers."""
        _together([consumer.stop for consumer in self.consumers])
        if self.api is not None:
            self.api.stop()
        for server in reversed(self.servers):
            server.close()

    def kill(self) -> None:
        """End everything at once, as a power cut would."""
        for process in (*self.consumers, self.api):
            if process is not None and process.poll() is None:
                process.kill()
        for server in self.servers:
            if server.running:
                server.kill()

    def ended(self) -> list[str]:
        """Names of the API and consumers that no longer run."""
        started = [process for process in (self.api, *self.consumers) if process is not None]
        return [process.log.stem for process in started if process.poll() is not None]

    def table(self) -> str:
        """Addresses and logins."""
        rows = [
            ("API", f"{self.api_url}  (docs: {self.api_url}/docs)"),
            ("PostgreSQL", self.database_url.replace("+psycopg", "")),
            ("Valkey", self.valkey.url),
            (
                "MinIO",
                f"{self.minio.url}  key {self.minio.access_key}  secret {self.minio.secret_key}  bucket parascribe",
            ),
            *((consumer.log.stem, f"pid {consumer.pid}") for consumer in self.consumers),
            ("logs", str(self.data / "logs")),
        ]
        return "\n".join(f"  {name:<12}{value}" for name, value in rows)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self, name: str, program: str, *, grace: float, **more: str) -> GuardedProcess:
        own = {
            "DATABASE_URL": self.database_url,
            "BROKER_URL": self.valkey.url,
            "MINIO_ENDPOINT": self.minio.endpoint,
            "MINIO_ACCESS_KEY": self.minio.access_key,
            "MINIO_SECRET_KEY": self.minio.secret_key,
            "MINIO_BUCKET": "parascribe",
            "MINIO_SECURE": str(self.minio.url.startswith("https")).lower(),
            "API_HOST": "127.0.0.1",
            "API_PORT": str(self.api_port),
            "DATA_DIR": str(self.data / name),
            "WORK_DIR": "",
        }
        shared = {"WHISPER_MODELS_DIR": str(self.data / "models")}
        return GuardedProcess(
            [sys.executable, str(ROOT / program)],
            log=self.data / "logs" / f"{name}.log",
            grace=grace,
            env=shared | os.environ | self._extra | own | more,
        )


def _together(calls: list[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> int:
    """Run until Ctrl-C or SIGTERM; a second one ends everything at once. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.cluster", description="The cluster profile on this machine."
    )
    parser.add_argument("--consumers", type=int, default=2, help="how many consumers (default 2)")
    parser.add_argument(
        "--data", type=Path, default=Path("data/cluster"), help="folder of everything (default data/cluster)"
    )
    parser.add_argument("--port", type=int, default=8000, help="port of the API (default 8000; 0 picks a free one)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cluster = Cluster(options.data, consumers=options.consumers, api_port=options.port)
    code = 0
    try:
        print("Starting PostgreSQL, Valkey, MinIO, the API and the consumers ...", flush=True)
        cluster.start()
        print(cluster.table(), "Ctrl-C stops everything.", sep="\n\n", flush=True)
        code = _watch(cluster)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print("\nStopping (again to end everything at once) ...", flush=True)
    try:
        cluster.stop()
    except KeyboardInterrupt:
        cluster.kill()
        return 130
    print("Stopped.", flush=True)
    return code


def _watch(cluster: Cluster) -> int:
    """Wait; tell of consumers that end. Returns when the API or a server has ended, which nothing here survives."""
    told: set[str] = set()
    while True:
        for name in cluster.ended():
            if name not in told:
                told.add(name)
                print(f"{name} has ended; see {cluster.data / 'logs' / name}.log", file=sys.stderr, flush=True)
        dead = [server.name for server in cluster.servers if server.owned and not server.running]
        if "api" in told or dead:
            print(f"Stopping, since {', '.join(dead) or 'the API'} has ended.", file=sys.stderr)
            return 1
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
