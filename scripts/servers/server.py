"""What all servers have in common: a process on a free port, a folder, a password."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import secrets
import shutil
import socket
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from scripts.guarded import GuardedProcess

START_TIMEOUT = 30.0

_given: set[int] = set()


class ServerMissingError(RuntimeError):
    """A server cannot be had on this machine; the message says what was looked for."""


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


def package_folder(name: str) -> Path:
    """Where a package is installed, without importing it; a path that does not exist when it is not."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else Path("/nonexistent")
