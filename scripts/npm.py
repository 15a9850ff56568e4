"""Packages from npm in a folder that names them: as its package-lock.json has them, and without running what they bring along."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


class NoPackages(Exception):
    """npm is not there, or could not fetch them; the text says which."""


def install(folder: Path) -> Path:
    """Where the programs of these packages are. Nothing is done where they are there already. Raises NoPackages."""
    npm = shutil.which("npm")
    if npm is None:
        raise NoPackages("npm is not installed")
    # npm keeps a copy of what it has installed: older than the lock file means another one
    mark = folder / "node_modules/.package-lock.json"
    if not (mark.exists() and mark.stat().st_mtime >= (folder / "package-lock.json").stat().st_mtime):
        command = [npm, "ci", "--ignore-scripts", "--loglevel=error", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
        if done.returncode:
            raise NoPackages(f"npm could not fetch its packages: {done.stderr.strip()}")
    return folder / "node_modules/.bin"
