"""`parascribe`, and `python -m parascribe`."""

from __future__ import annotations

import sys

from core.system.program import uncollected


def run() -> int:
    """The command; returns its exit code."""
    # httpx would load its own command line with click, rich and pygments: a third of a second at each start, for nobody
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
    with uncollected():
        from parascribe.cli import main
    return main()


if __name__ == "__main__":
    sys.exit(run())
