"""`parascribe`, and `python -m parascribe`."""

from __future__ import annotations

import sys

from core.system.program import uncollected


def run() -> int:
    """The command; returns its exit code."""
    with uncollected():
        from parascribe.cli import main
    return main()


if __name__ == "__main__":
    sys.exit(run())
