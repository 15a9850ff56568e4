"""Child processes that cannot outlive their parent, take more than their share, or read its secrets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

LAUNCHER = Path(__file__).with_name("launch.py")
#: how stderr begins when the program itself could not be started
CANNOT_RUN = b"cannot run "

#: numpy's own threads
_BLAS = ("OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

#: what a child may see of our environment; database, broker and storage secrets are not among it
PUBLIC_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "DATA_DIR", "TZ")


class Cancel(Protocol):
    """Tells a long call to give up. `threading.Event` fits."""

    def is_set(self) -> bool: ...


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
        """As core/launch.py takes them. Core dumps are never written: they would hold users' audio."""
        wanted = {
            "RLIMIT_CORE": 0,
            "RLIMIT_AS": self.memory,
            "RLIMIT_CPU": self.cpu_seconds,
            "RLIMIT_FSIZE": self.file_bytes,
            "RLIMIT_NOFILE": self.open_files,
        }
        return [str(self.nice), *(f"{name}={number}" for name, number in wanted.items() if number is not None)]


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
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program, given by its absolute path, in a session of its own; end it with `stop`.

    On Linux the kernel kills it when the *thread* that called `spawn` ends, however it ends: call
    from a thread that outlives the child. Elsewhere a child that writes to a pipe of ours dies at
    its next write. env: None = `environment()`. A program that cannot be run ends with status 1
    and a line on stderr that begins with CANNOT_RUN.
    """
    tie = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), *(limits or Limits()).arguments(), "--"]
    return subprocess.Popen(
        [*tie, *command],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=environment() if env is None else env,
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
