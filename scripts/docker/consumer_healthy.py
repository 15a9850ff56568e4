"""Health check of the consumer's container: exits 0 while the process that runs the jobs is alive.

The supervisor starts it again when it dies; a container that stays unhealthy cannot keep one alive.
"""

from __future__ import annotations

import os
import sys

import psutil

#: how its command line begins to look: as started, and as Celery renames it
NAMES = ("parascribe.run.consumer_main", "celeryd:")


def main() -> int:
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if process.pid != os.getpid() and any(name in line for name in NAMES):
            return 0
    print("no consumer process runs", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
