"""How the engine's processes are started, so that none of them inherits what it must not have or outlives its parent."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_MMAP_THRESHOLD, _LARGEST_THRESHOLD = 256 << 10, 32 << 20
"""Of M_MMAP_THRESHOLD, in bytes: ours, and the most on 64-bit machines (mallopt(3))."""
_TRIM_THRESHOLD = 128 << 10
"""glibc's own."""

_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "DATA_DIR")
_ENGINE = {
    # an OpenMP region in the host would hang every forked child; workers still obey n_threads
    "OMP_NUM_THREADS": "1",
    # spinning barriers cost a factor of 50 in decoding when cores are shared
    "OMP_WAIT_POLICY": "passive",
    "OPENBLAS_NUM_THREADS": "1",
    # an abort would start gdb, which can hang
    "GGML_NO_BACKTRACE": "1",
    # fixed, else glibc raises it to the size of the first state freed and keeps that much in every idle worker
    # (measured: 8 instead of 30 MB private while idle, 16 to 18 MB less while at work, for 2 to 5 % of CPU time in new
    # pages, of 13 to 15 % with ENCODER_CONTEXT=fit, whose workers `keep_memory` therefore. Huge pages do not win that
    # back: 1 % less time once warm, 6 to 11 % more for a worker's first chunks)
    "MALLOC_MMAP_THRESHOLD_": str(_MMAP_THRESHOLD),
    # setproctitle would overwrite the environment, by which stray processes are found
    "SPT_NOENV": "1",
}
_PR_SET_PDEATHSIG = 1
_BOOT = "import sys;sys.path.insert(0,sys.argv.pop(1));import importlib;importlib.import_module(sys.argv.pop(1)).main()"


def python_command(module: str, *arguments: str) -> list[str]:
    """argv that runs one of our modules isolated: no PYTHON* variables, no user site, no working directory on the path.

    Since `-I` also ignores PYTHONPATH, the folder this package lies in (a checkout or site-packages) is named outright.
    """
    root = str(Path(__file__).resolve().parents[2])
    return [sys.executable, "-I", "-X", "faulthandler", "-c", _BOOT, root, module, *arguments]


def engine_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the engine's processes get: a short list of harmless variables (no secrets) and OpenMP kept in check."""
    return {name: environ[name] for name in _KEPT if name in environ} | _ENGINE


def keep_memory() -> None:
    """What is freed from now on stays with this process to be used again, until `give_back_memory` (glibc; elsewhere nothing)."""
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def give_back_memory() -> None:
    """What was freed and kept goes back to the system, and so does what is freed from now on (glibc)."""
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)
        ctypes.CDLL(None).malloc_trim(0)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends (Linux); exits at once if the parent has gone already.

    The signal follows the *thread* that forked: it must live as long as the child shall. Elsewhere than on
    Linux callers compare `os.getppid()` now and then.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def no_core_dumps() -> None:
    """A crash must not fill the disk with the weights (or with somebody's speech)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def close_all_but(*kept: int) -> None:
    """Close every descriptor from 3 up, except those given: for a forked worker."""
    low = 3
    for fd in sorted(kept):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))
