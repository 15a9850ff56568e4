"""`python -m scripts.page`: holds the page against the API's own description, and against the rules of eslint.config.js.

Needs Node and npm: a laptop without them is told so, with CI=true it fails.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from scripts import npm

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
TYPES = ROOT / "api/page/types/api.d.ts"


def main() -> int:
    try:
        tools = npm.install(HERE)
    except npm.NoPackages as error:
        print(f"The page's types are not checked: {error}", file=sys.stderr)
        return 1 if os.environ.get("CI") == "true" else 0
    described = ROOT / "docs/reference/openapi.json"
    TYPES.parent.mkdir(exist_ok=True)
    steps = (
        [tools / "openapi-typescript", described, "--output", TYPES],
        [tools / "tsc", "--project", HERE / "tsconfig.json"],
        [tools / "eslint", "--config", HERE / "eslint.config.js", ROOT / "api/page/static"],
    )
    for step in steps:
        # one after the other: the second reads what the first has written
        command = [str(part) for part in step]
        done = subprocess.run(command, cwd=ROOT, check=False, capture_output=step is steps[0], text=True)
        if done.returncode:
            print(done.stderr or "", file=sys.stderr, end="")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
