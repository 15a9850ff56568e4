"""`python -m scripts.page`: holds the page against the API's own description, and against the rules of eslint.config.js.

Needs Node and npm: a laptop without them is told so, with CI=true it fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
TYPES = ROOT / "api/page/types/api.d.ts"
TOOLS = HERE / "node_modules/.bin"


def main() -> int:
    npm = shutil.which("npm")
    if npm is None:
        print("page: npm is not installed, so its types are not checked", file=sys.stderr)
        return 1 if os.environ.get("CI") == "true" else 0
    if not _is_installed():
        subprocess.run([npm, "ci", "--ignore-scripts", "--loglevel=error"], cwd=HERE, check=True)
    described = ROOT / "docs/reference/openapi.json"
    TYPES.parent.mkdir(exist_ok=True)
    steps = (
        [TOOLS / "openapi-typescript", described, "--output", TYPES],
        [TOOLS / "tsc", "--project", HERE / "tsconfig.json"],
        [TOOLS / "eslint", "--config", HERE / "eslint.config.js", ROOT / "api/page/static"],
    )
    for step in steps:
        # one after the other: the second reads what the first has written
        done = subprocess.run(
            [str(part) for part in step], check=False, cwd=ROOT, capture_output=step is steps[0], text=True
        )
        if done.returncode:
            print(done.stderr or "", file=sys.stderr, end="")
            return 1
    return 0


def _is_installed() -> bool:
    """npm keeps a copy of what it has installed: older than the lock file means another one."""
    mark = HERE / "node_modules/.package-lock.json"
    return mark.exists() and mark.stat().st_mtime >= (HERE / "package-lock.json").stat().st_mtime


if __name__ == "__main__":
    sys.exit(main())
