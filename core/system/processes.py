"""Child processes that cannot outlive their parent, take more than their share, or read its secrets."""

from __future__ import annotations

import functools
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_LAUNCHER = Path(__file__).with_name("launch.py")
#: how stderr begins when the program itself could not be started
CANNOT_RUN = b"cannot run "

#: numpy's own threads
_BLAS = ("OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

#: what a child may see of our environment; database, broker and storage secrets are not among it
PUBLIC_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "DATA_DIR", "TZ")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a child may use. None = as the parent.

    memory: bytes of address space
    cpu_seconds: CPU time in all, then it is killed
    file_bytes: size of any file it writes; 0 = it cannot write to files at all (pipes are no files)
    open_files: file descriptors
    nice: added to the parent's niceness
    """

    memory: int | None = None
    cpu_seconds: int | None = None
    file_bytes: int | None = None
    open_files: int | None = None
    nice: int = 0

    def arguments(self) -> list[str]:
        """As core/system/launch.py takes them."""
        return [str(self.nice), *(f"RLIMIT_{name}={number}" for name, number in self.wanted().items())]

    def wanted(self) -> dict[str, int]:
        """Number by resource. Core dumps are never written: they would hold users' audio."""
        given = {
            "CORE": 0,
            "AS": self.memory,
            "CPU": self.cpu_seconds,
            "FSIZE": self.file_bytes,
            "NOFILE": self.open_files,
        }
        return {name: number for name, number in given.items() if number is not None}


@dataclass(frozen=True, kw_only=True)
class _Tools:
    """Paths of util-linux's and coreutils' programs."""

    setpriv: str
    prlimit: str
    nice: str

    def tie(self, limits: Limits) -> list[str]:
        """What core/system/launch.py does, as the beginning of a command line."""
        given = []
        for name, number in limits.wanted().items():
            hard = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[1]
            given.append(f"--{name.lower()}={number if hard == resource.RLIM_INFINITY else min(number, hard)}")
        return [
            self.setpriv,
            "--pdeathsig",
            "KILL",
            "--no-new-privs",
            self.prlimit,
            *given,
            self.nice,
            "-n",
            str(limits.nice),
        ]


@functools.cache
def _tools() -> _Tools | None:
    """The tools, if they are here and do what they are wanted for (busybox has a setpriv of its own)."""
    found = {name: shutil.which(name) for name in ("setpriv", "prlimit", "nice")}
    if sys.platform != "linux" or not all(found.values()):
        return None
    tools = _Tools(**{name: str(path) for name, path in found.items()})
    try:
        tried = subprocess.run(
            [*tools.tie(Limits(nice=0)), sys.executable, "-V"], capture_output=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if tried.returncode else tools


def one_blas_thread() -> None:
    """Have numpy, once it is imported here or in a child, compute in the thread that asks.

    Its products are small here, and all cores have chunks to do: threads of its own would only take time and memory.
    Who has set the variables keeps his will.
    """
    for name in _BLAS:
        os.environ.setdefault(name, "1")


def environment() -> dict[str, str]:
    """The little that a child gets to see, with messages in English."""
    return {name: os.environ[name] for name in PUBLIC_VARIABLES if name in os.environ} | {"LC_ALL": "C"}


def spawn(
    command: Sequence[str],
    *,
    limits: Limits | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.DEVNULL,
    stderr: int | IO[bytes] = subprocess.DEVNULL,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    pass_fds: Sequence[int] = (),
    quick: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a program, given by its absolute path, in a session of its own; end it with `stop`.

    On Linux the kernel kills it when the *thread* that called `spawn` ends, however it ends: call
    from a thread that outlives the child. Elsewhere a child that writes to a pipe of ours dies at
    its next write. env: None = `environment()`. A program that cannot be run ends with status 1
    and a line on stderr that begins with CANNOT_RUN.

    quick: by util-linux's tools where there are some, which takes 3 ms instead of 10. They do not look whether the
        parent has died in the very millisecond of the start: for children whom a closed pipe would end as well
    """
    limits = limits or Limits()
    tools = _tools() if quick and os.access(command[0], os.X_OK) else None
    tie = (
        tools.tie(limits)
        if tools
        else [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), *limits.arguments(), "--"]
    )
    return subprocess.Popen(
        [*tie, *command],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=environment() if env is None else env,
        cwd=cwd,
        start_new_session=True,
        pass_fds=pass_fds,
    )


def stop(process: subprocess.Popen[bytes]) -> int:
    """Kill the child's whole group if it still runs, reap it and close its pipes. Returns its exit status."""
    if process.poll() is None:  # not yet reaped, so that the number cannot belong to another
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    return process.wait()
