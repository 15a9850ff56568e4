"""Makes `.venv` from a hashed lock file: `python3 scripts/bootstrap.py [run|dev]`. Standard library only.

run: what the service needs; dev: tests, real servers and linters as well. Does nothing when all is in place.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCKS = {"run": "requirements.lock", "dev": "requirements-dev.lock"}
OLDEST = (3, 11)


def main(kind: str) -> None:
    if sys.version_info < OLDEST:
        sys.exit(
            f"Parascribe needs Python {OLDEST[0]}.{OLDEST[1]} or newer; this is {sys.version.split()[0]}. Try: make PYTHON=python3.12 ..."
        )
    lock = ROOT / LOCKS[kind]
    wanted = _wanted(kind)
    mark = VENV / f".parascribe-{kind}"
    # the dev lock holds everything the run lock does
    if any(_read(VENV / f".parascribe-{k}") == _wanted(k) for k in {kind, "dev"}):
        return
    began = time.monotonic()
    print(f"Setting up {VENV.name} from {lock.name} ...", file=sys.stderr, flush=True)
    python = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        if importlib.util.find_spec("ensurepip") is None:
            sys.exit(
                "This Python has no ensurepip: install your system's python3-venv package, or use another Python (make PYTHON=...)."
            )
        venv.create(VENV, with_pip=True, clear=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "-r", str(lock)], check=True)
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "-e", str(ROOT)], check=True)
    mark.write_text(wanted)
    print(f"Set up in {time.monotonic() - began:.0f} s.", file=sys.stderr)


def _wanted(kind: str) -> str:
    content = (ROOT / LOCKS[kind]).read_bytes() + (ROOT / "pyproject.toml").read_bytes()
    return hashlib.sha256(content + sys.version.encode()).hexdigest()


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "run")
