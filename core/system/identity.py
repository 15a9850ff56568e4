"""Who a process is: names that cannot be mistaken for another process after a pid is used again."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from pathlib import Path

import psutil


def boot_id() -> str:
    """Changes with every boot of the machine."""
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return str(int(psutil.boot_time()))


def pid_space() -> str:
    """Where process numbers mean the same: this boot and, for containers on one host, this pid namespace."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return f"{boot_id()} {namespace}"


def started(pid: int) -> str | None:
    """When a process started, in the kernel's own ticks (a changed wall clock changes nothing); None when it is gone.

    Raises OSError when it cannot be told: too many open files, say.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    except (FileNotFoundError, ProcessLookupError):
        if sys.platform == "linux":
            return None
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return None


def new_consumer() -> str:
    """Id of a consumer: where it runs, and that it is this one."""
    return f"{socket.gethostname()}-{secrets.token_hex(4)}"


def owner(consumer: str, pid: int | None = None) -> str:
    """Name under which a process of a consumer holds leases: `<consumer>/<pid>:<start>`."""
    pid = pid or os.getpid()
    return f"{consumer}/{pid}:{started(pid)}"


def alive(owner_name: str) -> bool:
    """Is the process that bears this name still running (on this machine)? Raises OSError when it cannot be told."""
    pid, _, start = owner_name.rpartition("/")[2].partition(":")
    return pid.isdigit() and started(int(pid)) == start
